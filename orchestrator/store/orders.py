"""Placing an order, with the queue's message in its transaction, and waking the workers."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from orchestrator.domain import admission
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.domain.models import AuditEntry
from orchestrator.domain.operations import PROVISION
from orchestrator.store import wakeups
from orchestrator.store.connection import Connection, Database
from orchestrator.store.queries import execute, fetch_row, read_rows, write_rows


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
    """Decide about an order and write it. The decision is made again when its customer has changed meanwhile.

    This ends, because another order of the same customer got through each time that the writing is refused. `line` goes
    into the audit log with an accepted order, in the same statement. Raises Problem when the order is refused,
    StoreUnavailable when nothing could be written.
    """
    with database.connection() as connection:
        while True:
            facts = read_facts(connection, order)
            decision = admission.decide(order.demand, facts)
            if decision.operation_id is not None:
                return _read_placed(connection, decision.kind, decision.operation_id)
            placed = Placed("accept", uuid4(), uuid4(), uuid4())
            if execute(connection, "insert_order", **_fill_in(order, placed, facts.revision, line)) == 1:
                return placed


def find_replay(database: Database, customer_id: str, key: str, body_hash: bytes) -> Placed | None:
    """Find the order that came with this key and this body. None when there is none, or the key's 7 days are over."""
    rows = read_rows(database, "replayed_order", customer_id=customer_id, key=key, body_hash=body_hash)
    return Placed("replay", rows[0]["id"], rows[0]["instance_id"], rows[0]["request_id"]) if rows else None


def _fill_in(order: Order, placed: Placed, revision: int, line: AuditEntry | None) -> dict[str, Any]:
    names = ("principal", "token_id", "customer_id", "address", "method", "route", "status")
    return {
        "operation_id": placed.operation_id,
        "instance_id": placed.instance_id,
        "request_id": placed.request_id,
        "customer_id": order.customer_id,
        "kind": PROVISION.name,
        "revision": revision,
        "ctype": order.demand.ctype,
        "spec": Jsonb(order.spec),
        "memory_mib": order.demand.memory_mib,
        "cpu_cores": order.demand.cpu_cores,
        "request_hash": order.demand.request_hash,
        "body_hash": order.demand.body_hash or order.demand.request_hash,
        "key": order.demand.key,
        "queue": wakeups.QUEUE,
        "message": wakeups.message(placed.operation_id),
        **{f"audit_{name}": getattr(line, name, None) for name in names},
    }


def read_facts(connection: Connection, order: Order) -> admission.Facts:
    """Read what the decision about an order needs, in one snapshot. Raises Problem when there is no such customer."""
    row = fetch_row(
        connection,
        "order_facts",
        customer_id=order.customer_id,
        kind=PROVISION.name,
        key=order.demand.key,
        ctype=order.demand.ctype,
        request_hash=order.demand.request_hash,
        keep=order.demand.keep,
        max_failed=admission.MAX_FAILED,
    )
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
