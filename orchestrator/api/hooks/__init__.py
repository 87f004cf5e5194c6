"""What other systems call: the billing system, the proxy's bridge, and an instance with its one-time token."""
