"""The sweep: lost workers, lost wake-ups, orders that nobody took, leftovers, and which workers are alive.

Each verb is one transaction, and any number of workers may run it at once: a row that another sweep holds is passed
over. Operations of a kind that this release does not know are left to the newer release that wrote them.
"""

from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from orchestrator.domain.billing import STOPPED_STATES
from orchestrator.domain.errors import Code
from orchestrator.domain.models import CANCELLED, Failure
from orchestrator.domain.operations import EXPIRED, KINDS, SWEPT, held_in, names
from orchestrator.store.connection import Database
from orchestrator.store.orders import enqueue
from orchestrator.store.passed_over import PassedOver
from orchestrator.store.queries import as_json, fetch_rows, read_rows, write_rows

LOST = Failure(
    code=Code.WORKER_LOST,
    message="two workers that ran this operation stopped answering: see why they ended, then order again",
)
OVERDUE = Failure(
    code=Code.DEADLINE_EXCEEDED,
    message="no worker could take the order in time: see whether workers run (`hostwright doctor`) and how "
    "long the queue is, then order again",
)
LIVE_SECONDS = 30.0
"""A worker counts as live for so long after it was last seen. It is seen at each of its sweeps while it can work."""
_ACCOUNT_STOPPED = "not started: the account is stopped"
_RESUMED = "its worker stopped answering: another goes on"


def rescue_lost(database: Database, *, attend_seconds: float) -> list[UUID]:
    """Resume operations whose worker stopped writing. Those that were lost before are undone, or fail.

    The sweep looks after the instance of one that fails after `attend_seconds`.
    """
    return _sweep(
        database,
        "sweep_lost",
        wake=True,
        lost=as_json(LOST),
        cancelled=as_json(CANCELLED),
        resumed=_RESUMED,
        kinds=names(KINDS.values()),
        undoable=names(kind for kind in KINDS.values() if kind.undo),
        attend_seconds=attend_seconds,
    )


def expire_overdue(database: Database, *, queue_seconds: float, quarantine_seconds: float) -> list[UUID]:
    """Fail orders that waited longer than `queue_seconds` for a worker, and those put back whose deadline is over, too.

    The machine of a retry that waited too long is kept for `quarantine_seconds` more.
    """
    return _sweep(
        database,
        "sweep_overdue",
        error=as_json(OVERDUE),
        message=OVERDUE.message,
        cancellable=names(kind for kind in KINDS.values() if kind.cancellable),
        queue_seconds=queue_seconds,
        quarantine_seconds=quarantine_seconds,
    )


def cancel_unwanted(database: Database) -> list[UUID]:
    """Cancel starts that wait although the account of their customer was stopped meanwhile."""
    return _sweep(
        database,
        "sweep_unwanted",
        error=as_json(CANCELLED),
        message=_ACCOUNT_STOPPED,
        running=names(kind for kind in KINDS.values() if kind.runs_server),
        stopped_states=sorted(STOPPED_STATES),
    )


def attend_leftovers(database: Database) -> list[UUID]:
    """Begin an operation for each instance that needs one although nobody asks for it."""
    kind_of = Jsonb({status: kind.name for status, kind in SWEPT.items()})
    return _sweep(
        database,
        "sweep_unattended",
        wake=True,
        kind_of=kind_of,
        expired=EXPIRED.name,
        held_in=Jsonb(held_in()),
        stopped_states=sorted(STOPPED_STATES),
    )


def wake_forgotten(
    database: Database, *, requeue_seconds: float, concurrency: int, passed_over: PassedOver | None = None
) -> list[UUID]:
    """Wake workers again for operations that nobody took for `requeue_seconds`, at most `concurrency` of them.

    Those that this worker has passed over are left to workers that can read them.
    """
    return _sweep(
        database,
        "sweep_unwoken",
        wake=True,
        kinds=names(KINDS.values()),
        requeue_seconds=requeue_seconds,
        concurrency=concurrency,
        passed_over=(passed_over or PassedOver()).parameter(),
    )


def _sweep(database: Database, query: str, *, wake: bool = False, **parameters: Any) -> list[UUID]:
    """Run one sweep's query. With `wake`, a message for each operation goes into the queue in the same transaction."""
    with database.transaction() as connection:
        swept: list[UUID] = [row["id"] for row in fetch_rows(connection, query, **parameters)]
        for operation_id in swept if wake else ():
            enqueue(connection, operation_id)
        return swept


def worker_seen(database: Database, worker: str) -> None:
    """Keep that this worker is alive."""
    write_rows(database, "worker_seen", worker=worker)


def worker_gone(database: Database, worker: str) -> None:
    """Forget a worker that stops."""
    write_rows(database, "worker_gone", worker=worker)


def live_workers(database: Database, *, within_seconds: float = LIVE_SECONDS) -> int:
    """How many workers were seen within so many seconds."""
    (row,) = read_rows(database, "live_workers", within_seconds=within_seconds)
    return int(row["live"])
