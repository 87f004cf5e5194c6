"""How an operation ends: succeeded, failed, cancelled, undone; its instance changes in the same transaction."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from orchestrator.domain.errors import CancelRequested
from orchestrator.domain.models import Cleanup, Failure, Lease
from orchestrator.domain.phases import Kind, Phase
from orchestrator.domain.states import OperationStatus, PhaseStatus
from orchestrator.store.connection import Connection, Database, execute
from orchestrator.store.leases import as_json, close_phases, guarded, guarded_flag


def complete_ready(database: Database, instance_id: UUID, lease: Lease, *, address: str | None, message: str) -> None:
    """A provision or a start succeeded: its instance is ready. Raises LostLease, CancelRequested."""
    with database.transaction() as connection:
        if guarded_flag(connection, "hold_lease", lease):
            raise CancelRequested(f"operation {lease.operation_id} is to be cancelled")
        _complete(connection, lease, Phase.COMPLETE, "writing the result", message)
        execute(connection, "instance_ready", {"instance_id": instance_id, "address": address})


def complete_stop(database: Database, instance_id: UUID, lease: Lease) -> None:
    """A stop succeeded. Raises LostLease."""
    with database.transaction() as connection:
        _complete(connection, lease, Phase.COMPLETE, "writing the result", "the server is stopped")
        execute(connection, "instance_stopped", {"instance_id": instance_id})


def complete_teardown(database: Database, instance_id: UUID, lease: Lease) -> None:
    """A teardown succeeded: its instance is archived and its VMID free. Raises LostLease."""
    with database.transaction() as connection:
        _complete(connection, lease, Phase.ARCHIVE_INSTANCE, "archiving the server", "the server is deleted")
        execute(connection, "archive_instance", {"instance_id": instance_id})


def complete_cleanup(database: Database, instance_id: UUID, lease: Lease) -> None:
    """What an earlier cleanup had left behind is gone, and the VMID is free. Raises LostLease."""
    with database.transaction() as connection:
        _complete(connection, lease, Phase.COMPLETE, "writing the result", "cleaned up: nothing is left")
        execute(connection, "instance_cleaned", {"instance_id": instance_id})


def _complete(connection: Connection, lease: Lease, phase: Phase, begins: str, message: str) -> None:
    guarded(connection, "enter_phase", lease, phase=phase, message=begins)
    close_phases(connection, lease, PhaseStatus.OK)
    _finish(connection, lease, OperationStatus.SUCCEEDED, "info", message)


def begin_cleaning(database: Database, lease: Lease, failure: Failure) -> None:
    """It failed: keep the reason, then undo it under the same lease. Raises LostLease."""
    with database.transaction() as connection:
        close_phases(connection, lease, PhaseStatus.FAILED)
        guarded(connection, "begin_cleaning", lease, error=as_json(failure), message=failure.message)


@dataclass(frozen=True)
class Undone:
    """How the undoing of a failed or cancelled operation ended."""

    kind: Kind
    cleanup: Cleanup
    attend_seconds: float
    """When the sweep looks after what may be left."""
    quarantine_seconds: float
    """How long a kept machine is kept."""
    certain: bool = True
    """Whether nothing can turn up any more: a clone that Proxmox held back may come through late."""
    kept: bool = False
    untouched: bool = False
    """Whether there was nothing to undo: a start of what ran already."""
    cancelled: bool = False


def finish_undone(database: Database, instance_id: UUID, lease: Lease, undone: Undone) -> None:
    """It is undone, or kept for a look, or what is left of it is named. Raises LostLease."""
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
        level, message = _summary(undone)
        _finish(connection, lease, status, level, message, cleanup=as_json(undone.cleanup))
        if undone.kept:
            execute(connection, "instance_kept", facts)
        elif undone.kind is Kind.PROVISION:
            execute(connection, "instance_failed", facts)
        elif leaked:
            execute(connection, "instance_left_running", facts)
        elif not undone.untouched:
            execute(connection, "instance_stopped", facts)


def _summary(undone: Undone) -> tuple[str, str]:
    if undone.cleanup.leaked:
        return "error", f"left behind: {', '.join(undone.cleanup.leaked)}"
    if undone.kept:
        return "warning", "kept for a look, off the edge: retry the order or delete the server when you are done"
    if undone.untouched:
        return "info", "the server runs as it did before"
    if undone.kind is Kind.START:
        return "info", "stopped again"
    return "info", "cleaned up: nothing is left"


def fail(database: Database, instance_id: UUID, lease: Lease, failure: Failure, *, attend_seconds: float) -> None:
    """It failed and there is nothing to undo; the sweep takes a deletion or a cleanup up again. Raises LostLease."""
    with database.transaction() as connection:
        close_phases(connection, lease, PhaseStatus.FAILED)
        _finish(connection, lease, OperationStatus.FAILED, "error", failure.message, error=as_json(failure))
        execute(connection, "attend_later", {"instance_id": instance_id, "attend_seconds": attend_seconds})


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
    guarded(
        connection,
        "finish_operation",
        lease,
        status=status,
        level=level,
        message=message,
        error=error,
        cleanup=cleanup,
    )
