"""Placing an order, with the queue's message in its transaction, and waking the workers."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from orchestrator.domain import admission
from orchestrator.domain.billing import ORDERING_STATES
from orchestrator.domain.errors import Problem, ProblemCode, StoreUnavailable
from orchestrator.domain.models import AuditEntry
from orchestrator.domain.operations import PROVISION
from orchestrator.store import wakeups
from orchestrator.store.connection import Connection, Database
from orchestrator.store.queries import execute, fetch_row, read_rows, write_rows

_TRIES = 1000
"""How often an order is decided about anew. Each time another one of its customer got through."""
_ORDERING_STATES = f"{{{','.join(sorted(ORDERING_STATES))}}}"
"""As PostgreSQL writes an array: a list would be turned into this for each order."""


@dataclass(frozen=True)
class Order:
    """A validated order of one customer."""

    customer_id: str
    demand: admission.Demand
    spec: dict[str, Any]


@dataclass(frozen=True)
class Placed:
    """What became of an order: its operation, and whether that was there already."""

    kind: Literal["accept", "replay", "active"]
    operation_id: UUID
    instance_id: UUID
    request_id: UUID


def place_order(database: Database, order: Order, line: AuditEntry | None = None) -> Placed:
    """Write an order if the facts of its customer allow it, in one statement, or say what becomes of it instead.

    An order that was allowed but not written is tried again, because its customer has changed meanwhile. This ends,
    because each time another order or change of the same customer got through. `line` goes into the audit log with an
    accepted order. Raises Problem when the order is refused, StoreUnavailable when nothing could be written.
    """
    placed = Placed("accept", uuid4(), uuid4(), uuid4())
    parameters = _ask_for_facts(order) | _fill_in(order, placed, line)
    with database.connection() as connection:
        for _ in range(_TRIES):
            row = fetch_row(connection, "place_order", **parameters)
            if row is not None and row.pop("written"):
                return placed
            decision = admission.decide(order.demand, _read_facts(row, order))
            if decision.operation_id is not None:
                return _read_placed(connection, decision.kind, decision.operation_id)
    raise StoreUnavailable(f"an order was decided about {_TRIES} times, and each time its customer had changed")


def find_replay(database: Database, customer_id: str, key: str, body_hash: bytes) -> Placed | None:
    """Find the order that came with this key and this body. None when there is none, or the key's 7 days are over."""
    rows = read_rows(database, "replayed_order", customer_id=customer_id, key=key, body_hash=body_hash)
    return Placed("replay", rows[0]["id"], rows[0]["instance_id"], rows[0]["request_id"]) if rows else None


def _fill_in(order: Order, placed: Placed, line: AuditEntry | None) -> dict[str, Any]:
    names = ("principal", "token_id", "customer_id", "address", "method", "route", "status")
    return {
        "operation_id": placed.operation_id,
        "instance_id": placed.instance_id,
        "request_id": placed.request_id,
        "ordering_states": _ORDERING_STATES,
        "max_kept": admission.MAX_KEPT,
        "spec": Jsonb(order.spec),
        "memory_mib": order.demand.memory_mib,
        "cpu_cores": order.demand.cpu_cores,
        "body_hash": order.demand.body_hash or order.demand.request_hash,
        "queue": wakeups.QUEUE,
        "message": wakeups.message(placed.operation_id),
        **{f"by_{name}": getattr(line, name, None) for name in names},
    }


def read_facts(connection: Connection, order: Order) -> admission.Facts:
    """Read what the decision about an order needs, in one snapshot. Raises Problem when there is no such customer."""
    return _read_facts(fetch_row(connection, "order_facts", **_ask_for_facts(order)), order)


def _ask_for_facts(order: Order) -> dict[str, Any]:
    return {
        "customer_id": order.customer_id,
        "kind": PROVISION.name,
        "key": order.demand.key,
        "ctype": order.demand.ctype,
        "request_hash": order.demand.request_hash,
        "keep": order.demand.keep,
        "max_failed": admission.MAX_FAILED,
    }


def _read_facts(row: dict[str, Any] | None, order: Order) -> admission.Facts:
    if row is None:
        raise Problem(
            ProblemCode.INVALID_REQUEST,
            f"there is no customer {order.customer_id}",
            {"errors": [{"pointer": "/customerId", "detail": "is not a known customer"}]},
        )
    return admission.Facts(**row)


def _read_placed(connection: Connection, kind: Literal["accept", "replay", "active"], operation_id: UUID) -> Placed:
    row = fetch_row(connection, "accepted_operation", operation_id=operation_id)
    if row is None:
        raise Problem(ProblemCode.NOT_FOUND, "the operation of this order is gone")
    return Placed(kind, operation_id, row["instance_id"], row["request_id"])


def enqueue(connection: Connection, operation_id: UUID) -> None:
    """Put the wake-up for an operation into the queue, within the caller's transaction."""
    execute(connection, "enqueue", queue=wakeups.QUEUE, message=wakeups.message(operation_id))


def rouse(connection: Connection, operation_id: UUID) -> None:
    """Put a wake-up into the queue and tell the workers, within the caller's transaction."""
    enqueue(connection, operation_id)
    execute(connection, "wake_workers", channel=wakeups.CHANNEL)


def pass_on(database: Database, operation_id: UUID) -> None:
    """Put a wake-up back that a leaving worker had taken."""
    with database.transaction() as connection:
        rouse(connection, operation_id)


def wake_workers(database: Database) -> None:
    """Make idle workers look into the queue now instead of at their next poll (1 s)."""
    write_rows(database, "wake_workers", channel=wakeups.CHANNEL)
