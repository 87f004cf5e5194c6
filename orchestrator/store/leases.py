"""What a worker writes under a lease. Every verb carries the fencing token and raises LostLease when it is stale."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, get_args
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import ValidationError

from orchestrator.domain.catalogue import ContainerType
from orchestrator.domain.models import Claim, Lease, OperationRow
from orchestrator.domain.operations import KINDS, held_in, works_in
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
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
from orchestrator.store.connection import Connection, Database
from orchestrator.store.orders import rouse
from orchestrator.store.passed_over import PassedOver
from orchestrator.store.queries import as_json, execute, execute_held, fetch_held, fetch_row

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claimant:
    """Who claims, and within which limits: operations at once over all workers, and on its Proxmox node."""

    worker: str
    lease_seconds: float
    deadline_seconds: float | None
    """How long any operation may run in all. None: as long as its kind may."""
    concurrency: int
    node: str | None = None
    node_concurrency: int | None = None
    passed_over: PassedOver = field(default_factory=PassedOver)

    def parameters(self) -> dict[str, Any]:
        """What the queries of a claim need."""
        deadlines = {kind.name: kind.deadline(self.deadline_seconds) for kind in KINDS.values()}
        return vars(self) | {
            "passed_over": self.passed_over.parameter(),
            "held_in": Jsonb(held_in()),
            "works_in": Jsonb(works_in()),
            "deadlines": Jsonb(deadlines),
        }


class UnreadableOperation(Exception):
    """A newer release wrote something into an operation that this one does not know."""


def claim_next(database: Database, claimant: Claimant) -> Claim | None:
    """Take the operation whose turn it is. None when none waits or the limits are reached.

    An operation that this release cannot read is passed over, because a newer release wrote it and will carry it out.
    The log says so once for each time that somebody has claimed it, and the other operations do not wait for it.
    """
    with database.transaction() as connection:
        execute(connection, "lock_claims")
        while True:
            row = fetch_row(connection, "next_waiting", **claimant.parameters())
            if row is None:
                return None
            try:
                with connection.transaction():
                    return claim(connection, row["id"], claimant)
            except UnreadableOperation as error:
                claimant.passed_over.add(row["id"], row["fencing_token"])
                log.warning("operation %s is passed over, a newer release wrote it: %s", row["id"], error)


def claim(connection: Connection, operation_id: UUID, claimant: Claimant) -> Claim | None:
    """Take one operation within the caller's transaction. None when somebody else has it or it is final.

    Raises UnreadableOperation when a newer release wrote it.
    """
    row = fetch_row(connection, "claim", operation_id=operation_id, **claimant.parameters())
    return None if row is None else _read_claim(row)


def _read_claim(row: Mapping[str, Any]) -> Claim:
    try:
        operation = OperationRow.model_validate(row)
        publications = tuple(Publication.from_dict(entry) for entry in row["publications"])
    except ValidationError as error:
        raise UnreadableOperation(_describe(error)) from None
    except ValueError as error:
        raise UnreadableOperation(f"publications: {error}") from None
    unknown = _find_unknown(operation)
    if unknown is not None:
        raise UnreadableOperation(f"its {unknown} is not known here")
    facts = {name: row[name] for name in ("left_seconds", "age_seconds", "was_ready", "publications_known")}
    return Claim(operation=operation, publications=publications, **facts)


def _describe(error: ValidationError) -> str:
    """Return in one line what is wrong where. It quotes no value, which may be a customer's or an agent's."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in details)


def _find_unknown(operation: OperationRow) -> str | None:
    """Return what this release does not know of an operation, though going on with it or undoing it depends on it."""
    cleanup = operation.cleanup
    steps = cleanup.steps if cleanup else ()
    words = {
        "kind": operation.kind in KINDS,
        "container type": operation.ctype in get_args(ContainerType),
        "phase": _are(Phase, operation.phase, *(phase.name for phase in operation.phases or ())),
        "phase of its error": _are(Phase, operation.error and operation.error.phase),
        "step of its cleanup": _are(Phase, *(step.name for step in steps)),
        "status of its cleanup": _are(PhaseStatus, cleanup and cleanup.status, *(step.status for step in steps)),
    }
    return next((word for word, known in words.items() if not known), None)


def _are(known: type[StrEnum], *words: object) -> bool:
    return all(word is None or isinstance(word, known) for word in words)


def heartbeat(database: Database, lease: Lease, *, lease_seconds: float) -> bool:
    """Prolong the lease. Returns whether the operation is to be cancelled. Raises LostLease, StoreUnavailable."""
    with database.connection() as connection:
        return bool(fetch_held(connection, "heartbeat", lease, lease_seconds=lease_seconds)["cancelled"])


def hand_over(database: Database, lease: Lease, reason: str = "its worker is leaving") -> None:
    """Put the operation back, and say why in its log. Another worker continues it at once. Raises LostLease."""
    with database.transaction() as connection:
        execute_held(connection, "hand_over", lease, message=f"handed over: {reason}")
        rouse(connection, lease.operation_id)


def put_off(database: Database, lease: Lease, seconds: float, reason: str) -> None:
    """Put the operation back for so many seconds, and say why in its log. Raises LostLease."""
    with database.connection() as connection:
        execute_held(connection, "put_off", lease, seconds=seconds, message=reason)


def record(database: Database, lease: Lease, updates: Sequence[Update]) -> None:
    """Write what happened, in order, all or nothing. Raises LostLease, StoreUnavailable."""
    with database.transaction() as connection:
        for update in updates:
            match update:
                case PhaseEntered(phase, message):
                    execute_held(connection, "enter_phase", lease, phase=phase, message=message)
                case Logged(logged_phase, level, message):
                    execute_held(connection, "log_event", lease, phase=logged_phase, level=level, message=message)
                case Retried(phase, retries):
                    execute_held(connection, "count_retry", lease, phase=phase, retries=retries)
                case PhasesClosed(status):
                    execute_held(connection, "close_phases", lease, status=status)
                case CloneBegun(upid, message):
                    execute_held(connection, "note_clone", lease, upid=upid)
                    execute_held(
                        connection, "log_event", lease, phase=Phase.CLONE_CONTAINER, level="info", message=message
                    )
                case CleanupRecorded(cleanup):
                    execute_held(connection, "record_cleanup", lease, cleanup=as_json(cleanup))
                case PublicationsRecorded(publications):
                    for publication in publications:
                        execute_held(connection, "record_publication", lease, **publication.as_dict())
                case PublicationsStruck(publications):
                    for publication in publications:
                        execute_held(connection, "strike_publication", lease, **publication.as_dict())


def allocate_vmid(
    database: Database, lease: Lease, *, ctype: str, bounds: tuple[int, int], name: Callable[[int], str]
) -> tuple[int, str] | None:
    """Give the operation's instance the next free VMID of its range and the host name that follows from it.

    None when the range is used up. Raises LostLease.
    """
    first, final = bounds
    with database.transaction() as connection:
        execute_held(connection, "hold_lease", lease)
        execute(connection, "lock_vmid_cursor", ctype=ctype, first=first)
        row = fetch_row(connection, "allocate_vmid", ctype=ctype, first=first, final=final, **lease.model_dump())
        if row is None:
            return None
        hostname = name(row["vmid"])
        execute_held(connection, "set_hostname", lease, hostname=hostname)
        execute_held(connection, "close_phases", lease, status=PhaseStatus.OK)
        return row["vmid"], hostname


def give_up_vmid(database: Database, lease: Lease, vmid: int) -> None:
    """Remember that a VMID is somebody else's, and take it off the operation. Raises LostLease."""
    with database.transaction() as connection:
        execute_held(connection, "release_vmid", lease)
        execute(connection, "mark_foreign", vmid=vmid)
        message = f"VMID {vmid} belongs to somebody else's machine: left alone, another is taken"
        execute_held(connection, "log_event", lease, phase=Phase.CLONE_CONTAINER, level="warning", message=message)
