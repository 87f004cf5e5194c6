"""The agent inside a container: its client, and what its answers mean."""
