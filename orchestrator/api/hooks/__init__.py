"""What other systems call: the billing system, and an instance with its one-time token."""
