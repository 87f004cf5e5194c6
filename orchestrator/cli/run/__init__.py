"""Commands that run parts of Hostwright: serve, worker, up, demo."""
