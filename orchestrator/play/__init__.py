"""Playing roles: the only package that knows ansible-runner, and what its events mean."""
