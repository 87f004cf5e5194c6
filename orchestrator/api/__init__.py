"""The HTTP API. `http` holds what every request passes through; each noun has a module or a package of its own."""
