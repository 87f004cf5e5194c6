"""The sweep: wake-ups that were lost, workers that were lost, and who is alive."""

from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from orchestrator.errors import Code
from orchestrator.models import Failure
from orchestrator.store.connection import Connection, Database, cursor_execute, execute
from orchestrator.store.orders import enqueue

LOST = Failure(
    code=Code.WORKER_LOST,
    message="the worker that ran this operation stopped answering; order again",
)


def sweep(database: Database, *, requeue_seconds: float) -> list[UUID]:
    """Fail what lost its worker and wake what was forgotten; returns the operations it touched.

    Safe to run by any number of workers at once: rows another sweep holds are passed over.
    """
    error: dict[str, Any] = {
        "error": Jsonb(LOST.model_dump(mode="json")),
        "message": LOST.message,
    }
    with database.transaction() as connection:
        to_clean = _ids(connection, "sweep_lost_provisions", error)
        ended = _ids(connection, "sweep_lost_teardowns", error)
        forgotten = _ids(connection, "sweep_unwoken", {"requeue_seconds": requeue_seconds})
        for operation_id in (*to_clean, *forgotten):
            enqueue(connection, operation_id)
        return [*to_clean, *ended, *forgotten]


def worker_seen(database: Database, worker: str) -> None:
    """This worker is alive."""
    with database.transaction() as connection:
        execute(connection, "worker_seen", {"worker": worker})


def worker_gone(database: Database, worker: str) -> None:
    """This worker stops."""
    with database.transaction() as connection:
        execute(connection, "worker_gone", {"worker": worker})


def live_workers(database: Database, *, within_seconds: float) -> int:
    """How many workers were seen within so many seconds."""
    with database.transaction() as connection:
        row = cursor_execute(connection.cursor(), "live_workers", {"within_seconds": within_seconds}).fetchone()
        return int(row[0]) if row else 0


def _ids(connection: Connection, query: str, parameters: dict[str, Any]) -> list[UUID]:
    return [row[0] for row in cursor_execute(connection.cursor(), query, parameters).fetchall()]
