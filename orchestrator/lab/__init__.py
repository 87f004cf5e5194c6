"""A whole data centre on loopback, for demos and tests. Production code never imports it."""
