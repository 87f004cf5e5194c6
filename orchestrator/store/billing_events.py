"""Events of the billing system. Each is applied once, and an older one never replaces a newer one."""

from datetime import datetime

from orchestrator.domain.billing import BillingState
from orchestrator.store.connection import Database
from orchestrator.store.queries import execute


def apply(database: Database, *, event_id: str, customer_id: str, state: BillingState, occurred_at: datetime) -> bool:
    """Set a customer's state unless the event is known or older than the last. Returns whether the customer exists."""
    event = {"id": event_id, "customer_id": customer_id, "state": state, "occurred_at": occurred_at}
    with database.transaction() as connection:
        # The lock comes first, so that two events of a customer are ordered by their times and not by their arrival.
        if execute(connection, "lock_customer", id=customer_id) == 0:
            return False
        if execute(connection, "insert_billing_event", **event) == 1:
            execute(connection, "apply_billing_event", **event)
        return True
