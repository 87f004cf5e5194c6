"""What a worker writes under a lease. Every verb carries the fencing token and raises LostLease when it is stale."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic import ValidationError

from orchestrator.domain.catalogue import ContainerType
from orchestrator.domain.errors import LostLease
from orchestrator.domain.models import Claim, Cleanup, Failure, Lease, OperationRow
from orchestrator.domain.operations import KINDS
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import PhaseStatus
from orchestrator.domain.updates import (
    CleanupRecorded,
    CloneBegun,
    Logged,
    PhaseEntered,
    PhasesClosed,
    PublicationsRecorded,
    PublicationsStruck,
    Retried,
    Update,
)
from orchestrator.store.connection import Connection, Database, cursor_execute, execute
from orchestrator.store.orders import rouse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claimant:
    """Who claims, and within which limits: operations at once over all workers, and on its Proxmox node."""

    worker: str
    lease_seconds: float
    deadline_seconds: float | None
    """How long any operation may run in all; None: as long as its kind may."""
    concurrency: int
    node: str | None = None
    node_concurrency: int | None = None
    passed_over: set[UUID] = field(default_factory=set)
    """Operations that this release cannot read. They wait for a worker that can."""

    def parameters(self) -> dict[str, Any]:
        """What the queries of a claim need."""
        held_in = {kind.name: kind.held_in for kind in KINDS.values() if kind.held_in is not None}
        deadlines = {kind.name: self.deadline_seconds or kind.deadline_seconds for kind in KINDS.values()}
        return vars(self) | {
            "passed_over": list(self.passed_over),
            "held_in": Jsonb(held_in),
            "deadlines": Jsonb(deadlines),
        }


class UnreadableOperation(Exception):
    """A newer release wrote something into an operation that this one does not know."""


def claim_next(database: Database, claimant: Claimant) -> Claim | None:
    """Take the operation whose turn it is, or None when none waits or the limits are reached.

    An operation that this release cannot read is passed over, and said so in the log once: a newer release wrote it and
    will carry it out, and everybody else's must not wait for that.
    """
    with database.transaction() as connection:
        execute(connection, "lock_claims")
        while True:
            row = cursor_execute(connection.cursor(), "next_waiting", claimant.parameters()).fetchone()
            if row is None:
                return None
            try:
                with connection.transaction():
                    return _claim(connection, row[0], claimant)
            except UnreadableOperation as error:
                claimant.passed_over.add(row[0])
                log.warning("operation %s is passed over, a newer release wrote it: %s", row[0], error)


def claim(database: Database, operation_id: UUID, claimant: Claimant) -> Claim | None:
    """Take one operation whoever's turn it is, or None when somebody else has it or it is final.

    Raises UnreadableOperation, and then it is not taken.
    """
    with database.transaction() as connection:
        return _claim(connection, operation_id, claimant)


def _claim(connection: Connection, operation_id: UUID, claimant: Claimant) -> Claim | None:
    cursor = connection.cursor(row_factory=dict_row)
    row = cursor_execute(cursor, "claim", claimant.parameters() | {"operation_id": operation_id}).fetchone()
    return None if row is None else _read_claim(row)


def _read_claim(row: Mapping[str, Any]) -> Claim:
    try:
        operation = OperationRow.model_validate(row)
        facts = ("left_seconds", "was_ready", "publications", "publications_known")
        claimed = Claim(operation=operation, **{name: row[name] for name in facts})
    except ValidationError as error:
        raise UnreadableOperation(str(error)) from error
    steps = operation.cleanup.steps if operation.cleanup else ()
    words = {
        "kind": operation.kind in KINDS,
        "container type": operation.ctype in get_args(ContainerType),
        "phase": operation.phase is None or isinstance(operation.phase, Phase),
        "step of its cleanup": all(isinstance(step.name, Phase) for step in steps),
    }
    unknown = [word for word, known in words.items() if not known]
    if unknown:
        raise UnreadableOperation(f"its {unknown[0]} is not known here")
    return claimed


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
                case PublicationsRecorded(publications):
                    for publication in publications:
                        guarded(connection, "record_publication", lease, **publication.as_dict())
                case PublicationsStruck(publications):
                    for publication in publications:
                        guarded(connection, "strike_publication", lease, **publication.as_dict())


def allocate_vmid(
    database: Database, lease: Lease, *, ctype: str, bounds: tuple[int, int], name: Callable[[int], str]
) -> tuple[int, str] | None:
    """Give the operation's instance the next free VMID of its range and the host name that follows from it.

    None when the range is used up. Raises LostLease.
    """
    parameters: dict[str, Any] = {"ctype": ctype, "first": bounds[0], "final": bounds[1]}
    with database.transaction() as connection:
        guarded(connection, "hold_lease", lease)
        execute(connection, "lock_vmid_cursor", parameters)
        row = cursor_execute(connection.cursor(), "allocate_vmid", parameters | lease.model_dump()).fetchone()
        if row is None:
            return None
        vmid = int(row[0])
        hostname = name(vmid)
        guarded(connection, "set_hostname", lease, hostname=hostname)
        close_phases(connection, lease, PhaseStatus.OK)
        return vmid, hostname


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
