"""What a worker writes under a lease. Every verb carries the fencing token and raises LostLease when it is stale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from orchestrator.domain.errors import LostLease
from orchestrator.domain.models import Claim, Cleanup, Failure, Lease, OperationRow
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import PhaseStatus
from orchestrator.domain.updates import CleanupRecorded, CloneBegun, Logged, PhaseEntered, PhasesClosed, Retried, Update
from orchestrator.store.connection import Connection, Database, cursor_execute, execute
from orchestrator.store.orders import rouse


@dataclass(frozen=True)
class Claimant:
    """Who claims, and within which limits: operations at once over all workers, and on its Proxmox node."""

    worker: str
    lease_seconds: float
    deadline_seconds: float
    concurrency: int
    node: str | None = None
    node_concurrency: int | None = None


def claim_next(database: Database, claimant: Claimant) -> Claim | None:
    """Take the operation whose turn it is, or None when none waits or the limits are reached."""
    with database.transaction() as connection:
        execute(connection, "lock_claims")
        row = cursor_execute(connection.cursor(), "next_waiting", vars(claimant)).fetchone()
        return None if row is None else _claim(connection, row[0], claimant)


def claim(database: Database, operation_id: UUID, claimant: Claimant) -> Claim | None:
    """Take one operation whoever's turn it is, or None when somebody else has it or it is final."""
    with database.transaction() as connection:
        return _claim(connection, operation_id, claimant)


def _claim(connection: Connection, operation_id: UUID, claimant: Claimant) -> Claim | None:
    cursor = connection.cursor(row_factory=dict_row)
    row = cursor_execute(cursor, "claim", vars(claimant) | {"operation_id": operation_id}).fetchone()
    if row is None:
        return None
    operation = OperationRow.model_validate(row)
    return Claim(
        operation=operation, left_seconds=row["left_seconds"], published=row["published"], was_ready=row["was_ready"]
    )


def heartbeat(database: Database, lease: Lease, *, lease_seconds: float) -> bool:
    """Prolong the lease; returns whether the operation is to be cancelled. Raises LostLease, StoreUnavailable."""
    with database.transaction() as connection:
        return guarded_flag(connection, "heartbeat", lease, lease_seconds=lease_seconds)


def hand_over(database: Database, lease: Lease) -> None:
    """The worker leaves: put the operation back, for another to go on with at once. Raises LostLease."""
    with database.transaction() as connection:
        guarded(connection, "hand_over", lease, message="handed over: its worker is leaving")
        rouse(connection, lease.operation_id)


def record(database: Database, lease: Lease, updates: Sequence[Update]) -> None:
    """Write what happened, in order, all or nothing. Raises LostLease, StoreUnavailable."""
    with database.transaction() as connection:
        for update in updates:
            match update:
                case PhaseEntered(phase, message):
                    guarded(connection, "enter_phase", lease, phase=phase, message=message)
                case Logged(logged_phase, level, message):
                    guarded(connection, "log_event", lease, phase=logged_phase, level=level, message=message)
                case Retried(phase, retries):
                    guarded(connection, "count_retry", lease, phase=phase, retries=retries)
                case PhasesClosed(status):
                    close_phases(connection, lease, status)
                case CloneBegun(upid, message):
                    guarded(connection, "note_clone", lease, upid=upid)
                    guarded(connection, "log_event", lease, phase=Phase.CLONE_CONTAINER, level="info", message=message)
                case CleanupRecorded(cleanup):
                    guarded(connection, "record_cleanup", lease, cleanup=as_json(cleanup))


def allocate_vmid(database: Database, lease: Lease, *, ctype: str, bounds: tuple[int, int]) -> int | None:
    """Give the operation's instance the next free VMID of its range; None when the range is used up.

    Raises LostLease.
    """
    parameters: dict[str, Any] = {"ctype": ctype, "first": bounds[0], "final": bounds[1]}
    with database.transaction() as connection:
        guarded(connection, "hold_lease", lease)
        execute(connection, "lock_vmid_cursor", parameters)
        row = cursor_execute(connection.cursor(), "allocate_vmid", parameters | lease.model_dump()).fetchone()
        return int(row[0]) if row else None


def set_hostname(database: Database, lease: Lease, hostname: str) -> None:
    """Name the instance, which ends the allocation. Raises LostLease."""
    with database.transaction() as connection:
        guarded(connection, "set_hostname", lease, hostname=hostname)
        close_phases(connection, lease, PhaseStatus.OK)


def give_up_vmid(database: Database, lease: Lease, vmid: int) -> None:
    """Remember that a VMID is somebody else's, and take it off the operation. Raises LostLease."""
    with database.transaction() as connection:
        guarded(connection, "release_vmid", lease)
        execute(connection, "mark_foreign", {"vmid": vmid})
        message = f"VMID {vmid} belongs to somebody else's machine: left alone, another is taken"
        guarded(connection, "log_event", lease, phase=Phase.CLONE_CONTAINER, level="warning", message=message)


def close_phases(connection: Connection, lease: Lease, status: PhaseStatus) -> None:
    guarded(connection, "close_phases", lease, phase_status=status)


def as_json(model: Cleanup | Failure) -> Jsonb:
    return Jsonb(model.model_dump(mode="json"))


def guarded_flag(connection: Connection, query: str, lease: Lease, **parameters: Any) -> bool:
    """As `_guarded`, for a statement that returns one truth value."""
    row = cursor_execute(connection.cursor(), query, parameters | lease.model_dump()).fetchone()
    if row is None:
        raise LostLease(f"operation {lease.operation_id} is no longer held with token {lease.fencing_token}")
    return bool(row[0])


def guarded(connection: Connection, query: str, lease: Lease, **parameters: Any) -> None:
    """Run a statement that carries the fencing token; no row touched means that the lease is lost."""
    given: Mapping[str, Any] = parameters | lease.model_dump()
    if execute(connection, query, given) == 0:
        raise LostLease(f"operation {lease.operation_id} is no longer held with token {lease.fencing_token}")
