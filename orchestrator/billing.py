"""What a customer's billing state allows."""

STOPPED_STATES = frozenset({"suspended", "retained", "pending_deletion"})
"""States in which no server of the customer may run."""
