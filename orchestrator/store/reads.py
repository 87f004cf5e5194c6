"""Reading operations and instances. A customer id narrows every read to that customer's own."""

from datetime import datetime
from uuid import UUID

from orchestrator.domain.models import EventRow, InstanceRow, OperationRow, ServerRow
from orchestrator.store.connection import Database
from orchestrator.store.queries import read_rows
from orchestrator.store.sweep import LIVE_SECONDS


def get_operation(database: Database, operation_id: UUID, customer_id: str | None) -> OperationRow | None:
    """Read one operation with its phases. None when there is no such operation."""
    rows = read_rows(
        database, "get_operation", operation_id=operation_id, customer_id=customer_id, live_seconds=LIVE_SECONDS
    )
    return OperationRow.model_validate(rows[0]) if rows else None


def list_operations(
    database: Database,
    *,
    customer_id: str | None,
    status: str | None = None,
    kind: str | None = None,
    after: UUID | None = None,
    limit: int = 50,
) -> list[OperationRow]:
    """List operations, newest first. `after` is the last id of the page before."""
    rows = read_rows(
        database, "list_operations", customer_id=customer_id, status=status, kind=kind, after=after, limit=limit
    )
    return [OperationRow.model_validate(row) for row in rows]


def list_events(database: Database, operation_id: UUID, *, after: int = 0, limit: int = 500) -> list[EventRow]:
    """List an operation's log after a sequence number."""
    rows = read_rows(database, "list_events", operation_id=operation_id, after=after, limit=limit)
    return [EventRow.model_validate(row) for row in rows]


def get_instance(
    database: Database, *, server_id: UUID | None, vmid: int | None, customer_id: str | None
) -> InstanceRow | None:
    """Read one instance by its id or its VMID. None when there is no such instance."""
    rows = read_rows(database, "get_instance", server_id=server_id, vmid=vmid, customer_id=customer_id)
    return InstanceRow.model_validate(rows[0]) if rows else None


def list_instances(
    database: Database,
    *,
    customer_id: str | None,
    leaked: bool = False,
    after: UUID | None = None,
    limit: int = 50,
) -> list[InstanceRow]:
    """List instances in the order in which they were ordered. `after` is the last id of the page before.

    `leaked` lists only those of which something was left behind, or whose deletion or stop keeps failing.
    """
    rows = read_rows(database, "list_instances", customer_id=customer_id, leaked=leaked, after=after, limit=limit)
    return [InstanceRow.model_validate(row) for row in rows]


def list_servers(database: Database, *, customer_id: str | None, limit: int) -> list[ServerRow]:
    """List the first instances with no more of each than the predecessor tells."""
    rows = read_rows(database, "list_servers", customer_id=customer_id, limit=limit)
    return [ServerRow.model_validate(row) for row in rows]


def newest_ready(database: Database) -> list[InstanceRow]:
    """Read the newest ready instance of each container type that is among the newest 50."""
    newest = [InstanceRow.model_validate(row) for row in read_rows(database, "newest_ready")]
    return list({each.ctype: each for each in reversed(newest) if each.address}.values())


def deleted_at(database: Database, server_id: UUID, customer_id: str | None) -> datetime | None:
    """When an instance was deleted, or None when it never was."""
    rows = read_rows(database, "get_archived", server_id=server_id, customer_id=customer_id)
    return rows[0]["deleted_at"] if rows else None
