"""The HTTP API: what every request passes through in `http`, and a module or package for each noun."""
