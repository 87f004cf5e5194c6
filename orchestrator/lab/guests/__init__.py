"""The lab's containers: processes of the real agent, or real LXC containers."""
