"""What a worker writes under a lease. Every verb carries the fencing token and raises LostLease when it is stale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from orchestrator.errors import LostLease
from orchestrator.models import Cleanup, Failure, Lease, OperationRow
from orchestrator.phases import Phase
from orchestrator.states import InstanceStatus, OperationStatus, PhaseStatus
from orchestrator.store.connection import Connection, Database, cursor_execute, execute


@dataclass(frozen=True)
class PhaseEntered:
    """A phase begins; the one before it is done."""

    phase: Phase
    message: str


@dataclass(frozen=True)
class Logged:
    """A line for the operation's log."""

    phase: Phase | None
    level: str
    message: str


@dataclass(frozen=True)
class Retried:
    """A waiting phase asked again, for the `retries`th time."""

    phase: Phase
    retries: int


@dataclass(frozen=True)
class PhasesClosed:
    """Every phase that runs has ended so."""

    status: PhaseStatus


Update = PhaseEntered | Logged | Retried | PhasesClosed
"""What an event of a run becomes in the database."""


def claim(
    database: Database, operation_id: UUID, *, worker: str, lease_seconds: float, deadline_seconds: float
) -> OperationRow | None:
    """Take an operation, or None when somebody else has it or it is final."""
    parameters = {
        "operation_id": operation_id,
        "worker": worker,
        "lease_seconds": lease_seconds,
        "deadline_seconds": deadline_seconds,
    }
    with database.transaction() as connection:
        row = cursor_execute(connection.cursor(row_factory=dict_row), "claim", parameters).fetchone()
        return OperationRow.model_validate(row) if row else None


def heartbeat(database: Database, lease: Lease, *, lease_seconds: float) -> None:
    """Prolong the lease. Raises LostLease, StoreUnavailable."""
    with database.transaction() as connection:
        _guarded(connection, "heartbeat", lease, lease_seconds=lease_seconds)


def release(database: Database, lease: Lease) -> None:
    """End the lease now, so that a sweep need not wait for it to run out. Raises LostLease."""
    with database.transaction() as connection:
        _guarded(connection, "release_lease", lease)


def record(database: Database, lease: Lease, updates: Sequence[Update]) -> None:
    """Write what happened, in order, all or nothing. Raises LostLease, StoreUnavailable."""
    with database.transaction() as connection:
        for update in updates:
            match update:
                case PhaseEntered(phase, message):
                    _guarded(connection, "enter_phase", lease, phase=phase, message=message)
                case Logged(logged_phase, level, message):
                    _guarded(connection, "log_event", lease, phase=logged_phase, level=level, message=message)
                case Retried(phase, retries):
                    _guarded(connection, "count_retry", lease, phase=phase, retries=retries)
                case PhasesClosed(status):
                    _close_phases(connection, lease, status)


def allocate_vmid(database: Database, lease: Lease, *, ctype: str, bounds: tuple[int, int]) -> int | None:
    """Give the operation's instance the next free VMID of its range; None when the range is used up.

    Raises LostLease.
    """
    parameters: dict[str, Any] = {"ctype": ctype, "first": bounds[0], "final": bounds[1]}
    with database.transaction() as connection:
        _guarded(connection, "hold_lease", lease)
        execute(connection, "lock_vmid_cursor", parameters)
        row = cursor_execute(connection.cursor(), "allocate_vmid", parameters | lease.model_dump()).fetchone()
        return int(row[0]) if row else None


def set_hostname(database: Database, lease: Lease, hostname: str) -> None:
    """Name the instance, which ends the allocation. Raises LostLease."""
    with database.transaction() as connection:
        _guarded(connection, "set_hostname", lease, hostname=hostname)
        _close_phases(connection, lease, PhaseStatus.OK)


def give_up_vmid(database: Database, lease: Lease, vmid: int) -> None:
    """Remember that a VMID is somebody else's, and take it off the operation. Raises LostLease."""
    with database.transaction() as connection:
        _guarded(connection, "release_vmid", lease)
        execute(connection, "mark_foreign", {"vmid": vmid})
        message = f"VMID {vmid} belongs to somebody else's machine: left alone, another is taken"
        _guarded(connection, "log_event", lease, phase=Phase.CLONE_CONTAINER, level="warning", message=message)


def complete_provision(
    database: Database, instance_id: UUID, lease: Lease, *, hostname: str, address: str | None
) -> None:
    """A provision succeeded: its instance is ready. Raises LostLease."""
    with database.transaction() as connection:
        _guarded(connection, "enter_phase", lease, phase=Phase.COMPLETE, message="writing the result")
        _close_phases(connection, lease, PhaseStatus.OK)
        _finish(connection, lease, OperationStatus.SUCCEEDED, "info", f"{hostname} is ready")
        execute(connection, "instance_ready", {"instance_id": instance_id, "address": address})


def complete_teardown(database: Database, instance_id: UUID, lease: Lease) -> None:
    """A teardown succeeded: its instance is archived and its VMID free. Raises LostLease."""
    with database.transaction() as connection:
        _guarded(connection, "enter_phase", lease, phase=Phase.ARCHIVE_INSTANCE, message="archiving the server")
        _close_phases(connection, lease, PhaseStatus.OK)
        _finish(connection, lease, OperationStatus.SUCCEEDED, "info", "the server is deleted")
        execute(connection, "archive_instance", {"instance_id": instance_id})


def begin_cleaning(database: Database, lease: Lease, failure: Failure) -> None:
    """A provision failed: keep the reason, then clean up under the same lease. Raises LostLease."""
    error = Jsonb(failure.model_dump(mode="json"))
    with database.transaction() as connection:
        _close_phases(connection, lease, PhaseStatus.FAILED)
        _guarded(connection, "begin_cleaning", lease, error=error, message=failure.message)


def finish_cleaned(
    database: Database, instance_id: UUID, lease: Lease, cleanup: Cleanup, *, kept: bool = False
) -> None:
    """A failed provision is cleaned up, or kept for a look, or what is left of it is named. Raises LostLease."""
    if cleanup.leaked:
        level, message = "error", f"left behind: {', '.join(cleanup.leaked)}"
    elif kept:
        level, message = "warning", "kept for a look, off the edge: delete it when you are done"
    else:
        level, message = "info", "cleaned up: nothing is left"
    status = InstanceStatus.QUARANTINED if kept else InstanceStatus.FAILED
    released = not kept and not cleanup.leaked
    with database.transaction() as connection:
        summary = Jsonb(cleanup.model_dump(mode="json"))
        _finish(connection, lease, OperationStatus.FAILED, level, message, cleanup=summary)
        execute(connection, "instance_failed", {"instance_id": instance_id, "status": status, "released": released})


def fail_teardown(database: Database, lease: Lease, failure: Failure) -> None:
    """A teardown failed; the instance stays, and asking again continues. Raises LostLease."""
    with database.transaction() as connection:
        _close_phases(connection, lease, PhaseStatus.FAILED)
        error = Jsonb(failure.model_dump(mode="json"))
        _finish(connection, lease, OperationStatus.FAILED, "error", failure.message, error=error)


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
    _guarded(
        connection,
        "finish_operation",
        lease,
        status=status,
        level=level,
        message=message,
        error=error,
        cleanup=cleanup,
    )


def _close_phases(connection: Connection, lease: Lease, status: PhaseStatus) -> None:
    _guarded(connection, "close_phases", lease, phase_status=status)


def _guarded(connection: Connection, query: str, lease: Lease, **parameters: Any) -> None:
    """Run a statement that carries the fencing token; no row touched means that the lease is lost."""
    given: Mapping[str, Any] = parameters | lease.model_dump()
    if execute(connection, query, given) == 0:
        raise LostLease(f"operation {lease.operation_id} is no longer held with token {lease.fencing_token}")
