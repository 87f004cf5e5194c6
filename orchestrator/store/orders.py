"""Placing an order and asking for a teardown: each one transaction, with the queue's message in it."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from orchestrator import orders, queue
from orchestrator.errors import Problem, ProblemCode
from orchestrator.models import AuditEntry, InstanceRow
from orchestrator.store.connection import Connection, Database, cursor_execute, execute


@dataclass(frozen=True)
class Order:
    """A validated order of one customer."""

    customer_id: str
    demand: orders.Demand
    spec: dict[str, Any]


@dataclass(frozen=True)
class Placed:
    """Where an order ended: its operation, and whether that was there already."""

    kind: Literal["accept", "replay", "active"]
    operation_id: UUID
    instance_id: UUID
    request_id: UUID


def place_order(database: Database, order: Order, line: AuditEntry | None = None) -> Placed:
    """Decide about an order and write it, if nothing of its customer has changed since; else decide again.

    `line` goes into the audit log with an order that is accepted, in the same statement.

    Every time that the writing is refused another order of the same customer got through, so this ends. Raises Problem
    when the order is refused, StoreUnavailable when nothing could be written.
    """
    with database.connection() as connection:
        while True:
            facts = _read_facts(connection, order)
            decision = orders.decide(order.demand, facts)
            if decision.operation_id is not None:
                return _known(connection, decision.kind, decision.operation_id)
            placed = Placed("accept", uuid4(), uuid4(), uuid4())
            if execute(connection, "insert_order", _parameters(order, placed, facts.revision, line)) == 1:
                return placed


def _parameters(order: Order, placed: Placed, revision: int, line: AuditEntry | None) -> dict[str, Any]:
    names = ("principal", "token_id", "customer_id", "address", "method", "route", "status")
    return {
        "operation_id": placed.operation_id,
        "instance_id": placed.instance_id,
        "request_id": placed.request_id,
        "customer_id": order.customer_id,
        "revision": revision,
        "ctype": order.demand.ctype,
        "spec": Jsonb(order.spec),
        "memory_mib": order.demand.memory_mib,
        "cpu_cores": order.demand.cpu_cores,
        "request_hash": order.demand.request_hash,
        "key": order.demand.key,
        "queue": queue.QUEUE,
        "message": queue.message(placed.operation_id),
        **{f"audit_{name}": getattr(line, name, None) for name in names},
    }


def _read_facts(connection: Connection, order: Order) -> orders.Facts:
    parameters = {
        "customer_id": order.customer_id,
        "key": order.demand.key,
        "ctype": order.demand.ctype,
        "request_hash": order.demand.request_hash,
    }
    cursor = connection.cursor(row_factory=class_row(orders.Facts))
    facts = cursor_execute(cursor, "order_facts", parameters).fetchone()
    if facts is None:
        raise Problem(
            ProblemCode.INVALID_REQUEST,
            f"there is no customer {order.customer_id}",
            {"errors": [{"pointer": "/customerId", "detail": "is not a known customer"}]},
        )
    return facts


def _known(connection: Connection, kind: Literal["accept", "replay", "active"], operation_id: UUID) -> Placed:
    cursor = connection.cursor(row_factory=dict_row)
    row = cursor_execute(cursor, "accepted_operation", {"operation_id": operation_id}).fetchone()
    if row is None:
        raise Problem(ProblemCode.NOT_FOUND, "the operation of this order is gone")
    return Placed(kind, operation_id, row["instance_id"], row["request_id"])


def place_teardown(
    database: Database, *, server_id: UUID | None, vmid: int | None, customer_id: str | None
) -> tuple[UUID, UUID] | None:
    """Ask for the teardown of an instance; returns (operation, instance), or None when there is no such instance.

    Asking again while it runs gives the same operation. Raises Problem (instance-busy) while another one is active.
    """
    found = {"server_id": server_id, "vmid": vmid, "customer_id": customer_id}
    with database.transaction() as connection:
        cursor = cursor_execute(connection.cursor(row_factory=dict_row), "lock_instance", found)
        row = cursor.fetchone()
        if row is None:
            return None
        instance = InstanceRow.model_validate(row)
        active = _active(connection, instance.id)
        if active is not None:
            if active["kind"] == "teardown":
                return active["id"], instance.id
            raise Problem(
                ProblemCode.INSTANCE_BUSY,
                "the server is still being made: delete it when its order has finished",
                {"operationId": str(active["id"])},
            )
        operation_id = uuid4()
        execute(
            connection,
            "insert_teardown",
            {"operation_id": operation_id, "instance_id": instance.id, "request_id": uuid4()},
        )
        enqueue(connection, operation_id)
        return operation_id, instance.id


def _active(connection: Connection, instance_id: UUID) -> dict[str, Any] | None:
    cursor: psycopg.Cursor[dict[str, Any]] = connection.cursor(row_factory=dict_row)
    return cursor_execute(cursor, "active_operation", {"instance_id": instance_id}).fetchone()


def enqueue(connection: Connection, operation_id: UUID) -> None:
    """Put the wake-up for an operation into the queue, within the caller's transaction."""
    execute(connection, "enqueue", {"queue": queue.QUEUE, "message": queue.message(operation_id)})


def wake_workers(database: Database) -> None:
    """Make idle workers look into the queue now instead of at their next poll (1 s)."""
    with database.transaction() as connection:
        execute(connection, "wake_workers", {"channel": queue.CHANNEL})
