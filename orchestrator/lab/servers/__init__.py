"""What every server of the lab stands on: sockets, connections, HTTP, certificates."""
