"""Instances: ordering, listing, starting, stopping and deleting them."""
