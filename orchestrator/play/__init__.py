"""Plays roles. Only this package knows ansible-runner and what its events mean."""
