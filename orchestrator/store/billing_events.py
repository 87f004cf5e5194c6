"""What the billing system says: each event once, and never an older one over a newer."""

from datetime import datetime

from orchestrator.domain.billing import BillingState
from orchestrator.store.connection import Database
from orchestrator.store.queries import execute


def apply(database: Database, *, event_id: str, customer_id: str, state: BillingState, occurred_at: datetime) -> bool:
    """Set a customer's state unless the event is known or older than what was said last; False: no such customer."""
    event = {"id": event_id, "customer_id": customer_id, "state": state, "occurred_at": occurred_at}
    with database.transaction() as connection:
        # Locked first, so that two events of one customer are told apart by their times and not by their arrival.
        if execute(connection, "lock_customer", id=customer_id) == 0:
            return False
        if execute(connection, "insert_billing_event", **event) == 1:
            execute(connection, "apply_billing_event", **event)
        return True
