"""How an operation ends: succeeded, failed, cancelled or undone. Its instance changes in the same transaction."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from orchestrator.domain.errors import CancelRequested
from orchestrator.domain.models import Cleanup, Failure, Lease
from orchestrator.domain.operations import Ending, OperationKind
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import OperationStatus, PhaseStatus
from orchestrator.store.connection import Connection, Database
from orchestrator.store.queries import as_json, execute, execute_held, fetch_held


def complete(
    database: Database,
    kind: OperationKind,
    instance_id: UUID,
    lease: Lease,
    *,
    address: str | None = None,
    hostname: str | None = None,
) -> None:
    """End an operation that succeeded, and make of its instance what its kind ends in.

    Raises LostLease. Raises CancelRequested when the kind can be cancelled and somebody wants that.
    """
    with database.transaction() as connection:
        if kind.cancellable and fetch_held(connection, "hold_lease", lease)["cancelled"]:
            raise CancelRequested(f"operation {lease.operation_id} is to be cancelled")
        execute_held(connection, "enter_phase", lease, phase=kind.final_phase, message=kind.final_phase.first_line)
        execute_held(connection, "close_phases", lease, status=PhaseStatus.OK)
        message = kind.success.format(hostname=hostname)
        _finish(connection, lease, OperationStatus.SUCCEEDED, "info", message)
        execute(connection, "strike_superseded", instance_id=instance_id)
        execute(connection, ENDING_QUERIES[kind.ending], instance_id=instance_id, address=address)


ENDING_QUERIES = {
    Ending.READY: "instance_ready",
    Ending.STOPPED: "instance_stopped",
    Ending.CLEANED: "instance_cleaned",
    Ending.UNPUBLISHED: "instance_unpublished",
    Ending.ARCHIVED: "archive_instance",
}
"""The query that makes of an instance what an operation ends in."""


def begin_cleaning(database: Database, lease: Lease, failure: Failure) -> None:
    """Keep why an operation failed. It is undone under the same lease. Raises LostLease."""
    with database.transaction() as connection:
        execute_held(connection, "close_phases", lease, status=PhaseStatus.FAILED)
        execute_held(connection, "begin_cleaning", lease, error=as_json(failure), message=failure.message)


@dataclass(frozen=True)
class Undone:
    """How the undoing of a failed or cancelled operation ended."""

    kind: OperationKind
    cleanup: Cleanup
    attend_seconds: float
    """After how long the sweep looks after what may be left."""
    quarantine_seconds: float
    """How long a kept machine is kept."""
    certain: bool = True
    """Whether nothing can turn up any more. A clone that Proxmox held back may still come late."""
    kept: bool = False
    untouched: bool = False
    """Whether there was nothing to undo, as after the start of a server that ran already."""
    cancelled: bool = False

    @property
    def is_stopped(self) -> bool:
        """Whether a server that may have run does so no longer."""
        return Phase.STOP_CONTAINER in self.kind.undo and not self.untouched


def finish_undone(database: Database, instance_id: UUID, lease: Lease, undone: Undone) -> None:
    """End an operation that was undone or kept for a look, and name what is left of it. Raises LostLease."""
    leaked = list(undone.cleanup.leaked)
    status = OperationStatus.CANCELLED if undone.cancelled else OperationStatus.FAILED
    facts: dict[str, Any] = {
        "instance_id": instance_id,
        "leaked": leaked,
        "released": undone.certain and not leaked,
        "attend_seconds": undone.attend_seconds,
        "quarantine_seconds": undone.quarantine_seconds,
    }
    with database.transaction() as connection:
        level, message = _sum_up(undone)
        _finish(connection, lease, status, level, message, cleanup=as_json(undone.cleanup))
        if undone.kept:
            execute(connection, "instance_kept", **facts)
        elif undone.kind.makes_machine:
            execute(connection, "instance_failed", **facts)
        elif leaked:
            execute(connection, "instance_left_running", **facts)
        elif undone.is_stopped:
            execute(connection, "instance_stopped", **facts)


def _sum_up(undone: Undone) -> tuple[str, str]:
    if undone.cleanup.leaked:
        return "warning", f"left behind: {', '.join(undone.cleanup.leaked)}"
    if undone.kept:
        return "warning", "kept for a look, off the edge: retry the order or delete the server when you are done"
    if undone.untouched:
        return "info", "the server runs as it did before"
    if not undone.kind.makes_machine and undone.is_stopped:
        return "info", "stopped again"
    return "info", "cleaned up: nothing is left"


def fail(database: Database, instance_id: UUID, lease: Lease, failure: Failure, *, attend_seconds: float) -> None:
    """End an operation that failed and left nothing to undo. Raises LostLease.

    The sweep looks after the instance after `attend_seconds`.
    """
    with database.transaction() as connection:
        execute_held(connection, "close_phases", lease, status=PhaseStatus.FAILED)
        _finish(connection, lease, OperationStatus.FAILED, "error", failure.message, error=as_json(failure))
        execute(connection, "attend_later", instance_id=instance_id, attend_seconds=attend_seconds)


def _finish(
    connection: Connection,
    lease: Lease,
    status: OperationStatus,
    level: str,
    message: str,
    *,
    error: Jsonb | None = None,
    cleanup: Jsonb | None = None,
) -> None:
    execute_held(
        connection,
        "finish_operation",
        lease,
        status=status,
        level=level,
        message=message,
        error=error,
        cleanup=cleanup,
    )
