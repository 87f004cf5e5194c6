"""The sweep: lost workers, lost wake-ups, orders nobody took, what nobody asks for, and who is alive.

Each verb is one transaction and safe to run by any number of workers at once: a row that another sweep holds is passed
over. Operations of a kind that this release does not know are left to the newer release that wrote them.
"""

from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from orchestrator.domain.billing import STOPPED_STATES
from orchestrator.domain.errors import Code
from orchestrator.domain.models import CANCELLED, Failure
from orchestrator.domain.operations import KINDS, SWEPT, names
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


def rescue_lost(database: Database, *, attend_seconds: float) -> list[UUID]:
    """Resume operations whose worker stopped writing, or undo and fail those that were lost before.

    `attend_seconds`: when a deletion that fails so is taken up again.
    """
    parameters = {
        "lost": as_json(LOST),
        "cancelled": as_json(CANCELLED),
        "resumed": _RESUMED,
        "kinds": names(KINDS.values()),
        "undoable": names(kind for kind in KINDS.values() if kind.undo),
        "attend_seconds": attend_seconds,
    }
    return _sweep(database, "sweep_lost", parameters, wake=True)


def expire_overdue(database: Database, *, queue_seconds: float, quarantine_seconds: float) -> list[UUID]:
    """Fail orders that waited longer than `queue_seconds` for a worker.

    `quarantine_seconds`: how long the machine of a retry that waited too long is kept.
    """
    parameters = {
        "error": as_json(OVERDUE),
        "message": OVERDUE.message,
        "cancellable": names(kind for kind in KINDS.values() if kind.cancellable),
        "queue_seconds": queue_seconds,
        "quarantine_seconds": quarantine_seconds,
    }
    return _sweep(database, "sweep_overdue", parameters)


def cancel_unwanted(database: Database) -> list[UUID]:
    """Cancel starts that wait although their customer's account was stopped meanwhile."""
    parameters = {
        "error": as_json(CANCELLED),
        "message": _ACCOUNT_STOPPED,
        "running": names(kind for kind in KINDS.values() if kind.runs_server),
        "stopped_states": sorted(STOPPED_STATES),
    }
    return _sweep(database, "sweep_unwanted", parameters)


def attend_leftovers(database: Database) -> list[UUID]:
    """Begin an operation for each instance that needs something nobody asks for."""
    kind_of = {status: kind.name for status, kind in SWEPT.items()}
    parameters = {"kind_of": Jsonb(kind_of), "stopped_states": sorted(STOPPED_STATES)}
    return _sweep(database, "sweep_unattended", parameters, wake=True)


def wake_forgotten(database: Database, *, requeue_seconds: float, concurrency: int) -> list[UUID]:
    """Wake workers again for operations that nobody took for `requeue_seconds`, at most `concurrency` of them."""
    parameters = {
        "kinds": names(KINDS.values()),
        "requeue_seconds": requeue_seconds,
        "concurrency": concurrency,
    }
    return _sweep(database, "sweep_unwoken", parameters, wake=True)


def _sweep(database: Database, query: str, parameters: dict[str, Any], *, wake: bool = False) -> list[UUID]:
    """Run one sweep's query; with `wake`, a message for each operation goes into the queue in the same transaction."""
    with database.transaction() as connection:
        swept = _ids(connection, query, parameters)
        for operation_id in swept if wake else ():
            enqueue(connection, operation_id)
        return swept


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
