"""The sweep: lost workers, lost wake-ups, orders nobody took, what nobody asks for, and who is alive."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from orchestrator.domain.billing import STOPPED_STATES
from orchestrator.domain.errors import Code
from orchestrator.domain.models import CANCELLED, Failure
from orchestrator.store.connection import Connection, Database, cursor_execute, execute
from orchestrator.store.leases import as_json
from orchestrator.store.orders import enqueue

LOST = Failure(
    code=Code.WORKER_LOST,
    message="two workers that ran this operation stopped answering: see why they ended, then order again",
)
OVERDUE = Failure(
    code=Code.DEADLINE_EXCEEDED,
    message="no worker took the order in time: see whether workers run and how long the queue is, then order again",
)
_ACCOUNT_STOPPED = "not started: the account is stopped"
_RESUMED = "its worker stopped answering: another goes on"


@dataclass(frozen=True)
class Swept:
    """What a sweep did."""

    lost: list[UUID]
    """Resumed, or failed where they were lost before."""
    overdue: list[UUID]
    unwanted: list[UUID]
    begun: list[UUID]
    """Operations of our own."""
    woken: list[UUID]


def sweep(
    database: Database,
    *,
    requeue_seconds: float,
    queue_seconds: float,
    attend_seconds: float,
    quarantine_seconds: float,
    concurrency: int,
) -> Swept:
    """Recover what lost its worker, fail what waited too long, begin what nobody asks for, wake what was forgotten.

    Safe to run by any number of workers at once: rows another sweep holds are passed over. `queue_seconds`: how long an
    order may wait; `attend_seconds`: when a failed deletion is taken up again; `quarantine_seconds`: how long the
    machine of a retry that waited too long is kept.
    """
    with database.transaction() as connection:
        lost = _ids(
            connection,
            "sweep_lost",
            {
                "lost": as_json(LOST),
                "cancelled": as_json(CANCELLED),
                "resumed": _RESUMED,
                "attend_seconds": attend_seconds,
            },
        )
        overdue = _ids(
            connection,
            "sweep_overdue",
            {
                "error": as_json(OVERDUE),
                "message": OVERDUE.message,
                "queue_seconds": queue_seconds,
                "quarantine_seconds": quarantine_seconds,
            },
        )
        stopped = {"stopped_states": sorted(STOPPED_STATES)}
        unwanted = _ids(
            connection, "sweep_unwanted", stopped | {"error": as_json(CANCELLED), "message": _ACCOUNT_STOPPED}
        )
        begun = _ids(connection, "sweep_unattended", stopped)
        woken = _ids(connection, "sweep_unwoken", {"requeue_seconds": requeue_seconds, "concurrency": concurrency})
        for operation_id in (*lost, *begun, *woken):
            enqueue(connection, operation_id)
        return Swept(lost, overdue, unwanted, begun, woken)


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
