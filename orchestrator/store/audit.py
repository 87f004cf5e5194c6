"""The audit log: who asked to change what, from where, and what came of it. It is only appended to."""

from datetime import datetime

from orchestrator.domain.models import AuditEntry, AuditRow
from orchestrator.store.connection import Database
from orchestrator.store.queries import execute, read_rows, write_rows


def record(database: Database, entry: AuditEntry) -> None:
    """Append a line."""
    write_rows(database, "insert_audit", **entry.model_dump())


def list_entries(
    database: Database, *, customer_id: str | None = None, after: int | None = None, limit: int = 50
) -> list[AuditRow]:
    """List lines, newest first. A customer sees the lines of its tokens and those about it."""
    rows = read_rows(database, "list_audit", customer_id=customer_id, after=after, limit=limit)
    return [AuditRow.model_validate(row) for row in rows]


def prune(database: Database, before: datetime) -> int:
    """Delete the lines from before a time. Returns how many there were."""
    with database.transaction() as connection:
        execute(connection, "allow_retention")
        return execute(connection, "prune_audit", before=before)
