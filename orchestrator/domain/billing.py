"""The table of what a customer may do in each billing state. docs/tenants.md shows it."""

from enum import StrEnum

from orchestrator.domain.errors import Problem, ProblemCode


class BillingState(StrEnum):
    """The state of a customer's account with the billing system."""

    ACTIVE = "active"
    PAST_DUE = "past_due"
    """An invoice is past its date."""
    OVERDUE_WARNING = "overdue_warning"
    """The invoice is still not paid, and the customer was warned."""
    SUSPENDED = "suspended"
    """The customer's servers are stopped, and stay stopped until the account is settled."""
    RETAINED = "retained"
    """The account is closed, and its data is kept."""
    PENDING_DELETION = "pending_deletion"
    """The account is closed, and an operator will delete its data."""


class Action(StrEnum):
    """What a customer can ask for."""

    READ = "read"
    ORDER = "order"
    RETRY = "retry"
    START = "start"
    STOP = "stop"
    DELETE = "delete"
    CANCEL = "cancel"


_ALL = frozenset(Action)
_NOTHING_NEW = _ALL - {Action.ORDER, Action.RETRY}
_READ_ONLY = frozenset({Action.READ})

ALLOWED: dict[BillingState, frozenset[Action]] = {
    BillingState.ACTIVE: _ALL,
    BillingState.PAST_DUE: _NOTHING_NEW,
    BillingState.OVERDUE_WARNING: _NOTHING_NEW,
    BillingState.SUSPENDED: _READ_ONLY,
    BillingState.RETAINED: _READ_ONLY,
    BillingState.PENDING_DELETION: _READ_ONLY,
}
"""What a customer may do. Operators may always read, start, stop, delete and cancel, and only they delete the data of a
closed account; but an order or a retry of theirs is the customer's too, and heeds its state."""

REFUSALS: dict[BillingState, tuple[ProblemCode, str]] = {
    BillingState.PAST_DUE: (
        ProblemCode.PAYMENT_REQUIRED,
        "an invoice is past due: new servers can be ordered after it is paid",
    ),
    BillingState.OVERDUE_WARNING: (
        ProblemCode.PAYMENT_REQUIRED,
        "an invoice is overdue: new servers can be ordered after it is paid",
    ),
    BillingState.SUSPENDED: (
        ProblemCode.CUSTOMER_SUSPENDED,
        "the account is suspended: it may read but change nothing; settle it with support",
    ),
    BillingState.RETAINED: (
        ProblemCode.CUSTOMER_SUSPENDED,
        "the account is closed and its data retained: it may read but change nothing",
    ),
    BillingState.PENDING_DELETION: (
        ProblemCode.CUSTOMER_SUSPENDED,
        "the account is being deleted: it may read but change nothing",
    ),
}
"""The answer to what a state does not allow."""

ORDERING_STATES = frozenset(state for state, allowed in ALLOWED.items() if Action.ORDER in allowed)
"""The states in which an order is accepted."""
STOPPED_STATES = frozenset(state for state, allowed in ALLOWED.items() if Action.START not in allowed)
"""The states in which a customer's servers must not run."""


_UNKNOWN = (
    ProblemCode.CUSTOMER_SUSPENDED,
    "the account is in a state that this release does not know: it may read but change nothing until all is upgraded",
)
"""The answer in a state that a newer release has set."""


def refuse(state: BillingState | str, action: Action) -> Problem | None:
    """Return why a customer in this state may not do this, or None when it may."""
    try:
        known = BillingState(state)
    except ValueError:
        return None if action in _READ_ONLY else Problem(*_UNKNOWN)
    return None if action in ALLOWED[known] else Problem(*REFUSALS[known])
