"""Guests as real LXC containers. They need root and Debian's lxc."""
