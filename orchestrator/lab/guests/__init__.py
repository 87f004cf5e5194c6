"""The containers of the lab: processes of the real agent, or real LXC containers."""
