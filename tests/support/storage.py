"""The store's verbs as tests use them: orders, claims, ends, sweeps, and what stands in the tables."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid4

from orchestrator.domain.admission import Demand, request_hash
from orchestrator.domain.errors import Code
from orchestrator.domain.models import Claim, Cleanup, CleanupStep, Failure, InstanceRow, Lease, OperationRow
from orchestrator.domain.operations import CLEANUP, PROVISION, STOP, TEARDOWN
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.domain.states import PhaseStatus
from orchestrator.domain.updates import (
    CleanupRecorded,
    CloneBegun,
    Logged,
    PhaseEntered,
    PublicationsRecorded,
    PublicationsStruck,
    Retried,
)
from orchestrator.store import endings, leases, orders, reads, sweep
from orchestrator.store.connection import Database
from orchestrator.store.endings import Undone
from orchestrator.store.leases import Claimant
from orchestrator.store.wakeups import QUEUE, JsonSerializer
from tests.support.fix_database import CUSTOMER

T = TypeVar("T")

ATTEND_SECONDS = 30
SPEC = {"ctype": "game", "variant": "vanilla"}
RANGE = (5000, 5004)
FAILURE = Failure(code=Code.AGENT_ERROR, phase="wait-for-agent-terminal-state", task="T", message="it exited with 1")
PUBLICATION = Publication("technitium", "internal/lab", "A", "mc.lab", "192.0.2.1")
CLEANED = Cleanup(status=PhaseStatus.OK, steps=(CleanupStep(name=Phase.DELETE_CONTAINER, status=PhaseStatus.OK),))
LEAKED = Cleanup(
    status=PhaseStatus.FAILED,
    steps=(CleanupStep(name=Phase.DELETE_CONTAINER, status=PhaseStatus.FAILED, message="Proxmox is away"),),
    leaked=("container:5000",),
)


def order(key: str | None = None, customer: str = CUSTOMER, memory_mib: int = 1, cpu_cores: int = 1) -> orders.Order:
    demand = Demand(key or str(uuid4()), request_hash(SPEC), "game", memory_mib, cpu_cores)
    return orders.Order(customer, demand, SPEC)


def place(database: Database) -> orders.Placed:
    return orders.place_order(database, order())


def claimant(**changes: Any) -> Claimant:
    """A worker that claims, without limits unless they are given."""
    given: dict[str, Any] = {"worker": "w", "lease_seconds": 30, "deadline_seconds": 900, "concurrency": 1000}
    return Claimant(**given | changes)


def claim_one(database: Database, operation_id: UUID, who: Claimant) -> Claim | None:
    """Take an operation, whoever's turn it is."""
    with database.transaction() as connection:
        return leases.claim(connection, operation_id, who)


def try_claim(database: Database, operation_id: UUID, *, lease_seconds: float = 30) -> OperationRow | None:
    claimed = claim_one(database, operation_id, claimant(lease_seconds=lease_seconds))
    return None if claimed is None else claimed.operation


def claim(database: Database, operation_id: UUID, *, lease_seconds: float = 30) -> Lease:
    row = try_claim(database, operation_id, lease_seconds=lease_seconds)
    assert row is not None
    return Lease(operation_id=row.id, fencing_token=row.fencing_token)


def allocate_vmid(
    database: Database, lease: Lease, bounds: tuple[int, int], *, ctype: str = "game", prefix: str = "mc"
) -> int | None:
    """Give an operation a VMID, and the host name that follows from it; None when the range is used up."""
    allocated = leases.allocate_vmid(database, lease, ctype=ctype, bounds=bounds, name=lambda vmid: f"{prefix}-{vmid}")
    if allocated is None:
        return None
    assert allocated[1] == f"{prefix}-{allocated[0]}"
    return allocated[0]


def start(database: Database) -> Lease:
    """A running operation with a VMID, a host name and a first phase."""
    lease = claim(database, place(database).operation_id)
    leases.record(database, lease, [PhaseEntered(Phase.ALLOCATE_VMID, "choosing")])
    assert allocate_vmid(database, lease, (5000, 5999)) is not None
    return lease


def provision(database: Database) -> InstanceRow:
    """An instance that is ready."""
    lease = start(database)
    instance_id = operation(database, lease.operation_id).instance_id
    endings.complete(database, PROVISION, instance_id, lease, address="192.0.2.7")
    return instance(database, instance_id)


def operation(database: Database, operation_id: UUID) -> OperationRow:
    row = reads.get_operation(database, operation_id, None)
    assert row is not None
    return row


def instance(database: Database, instance_id: UUID) -> InstanceRow:
    row = reads.get_instance(database, server_id=instance_id, vmid=None, customer_id=None)
    assert row is not None
    return row


def phases(database: Database, operation_id: UUID) -> dict[str, str]:
    return {row.name: row.status for row in operation(database, operation_id).phases or ()}


def messages(database: Database, operation_id: UUID) -> list[str]:
    return [event.message for event in reads.list_events(database, operation_id)]


def query(database: Database, text: str, *parameters: Any) -> list[Any]:
    with database.transaction() as connection:
        cursor = connection.execute(text.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


@dataclass(frozen=True)
class Swept:
    """What all duties of a worker that sweep the database did, once."""

    lost: list[UUID]
    overdue: list[UUID]
    unwanted: list[UUID]
    begun: list[UUID]
    woken: list[UUID]


def swept(database: Database, *, requeue_seconds: float = 3600, queue_seconds: float = 3600) -> Swept:
    """Sweep once, in the order of a worker's duties."""
    return Swept(
        lost=sweep.rescue_lost(database, attend_seconds=ATTEND_SECONDS),
        overdue=sweep.expire_overdue(database, queue_seconds=queue_seconds, quarantine_seconds=60),
        unwanted=sweep.cancel_unwanted(database),
        begun=sweep.attend_leftovers(database),
        woken=sweep.wake_forgotten(database, requeue_seconds=requeue_seconds, concurrency=1000),
    )


def undone(cleanup: Cleanup, **changes: Any) -> Undone:
    """The end of a failed provision."""
    given: dict[str, Any] = {"kind": PROVISION, "attend_seconds": ATTEND_SECONDS, "quarantine_seconds": 60}
    return Undone(cleanup=cleanup, **given | changes)


def give_back(database: Database, lease: Lease, cleanup: Cleanup = CLEANED, **changes: Any) -> None:
    """The operation fails and is undone, so that its VMID is free unless something leaked."""
    endings.begin_cleaning(database, lease, FAILURE)
    instance_id = operation(database, lease.operation_id).instance_id
    endings.finish_undone(database, instance_id, lease, undone(cleanup, **changes))


def expire(database: Database, operation_id: UUID) -> None:
    query(database, "update operation set lease_expires_at = now() - interval '1 second' where id = %s", operation_id)


def queued(database: Database) -> list[UUID]:
    """The operations that have a message in the queue, one entry a message."""
    rows = query(database, "select data from huey_task where queue = %s order by id", QUEUE)
    return [UUID(JsonSerializer().deserialize(bytes(data)).args[0]) for (data,) in rows]


def empty_queue(database: Database) -> None:
    query(database, "delete from huey_task")


def everything(database: Database) -> str:
    """All that a lost worker could have changed, as text."""
    tables = ("instance", "operation", "operation_phase", "operation_event", "archived_instance", "foreign_vmid",
              "vmid_cursor", "huey_task")  # fmt: skip
    return "\n".join(str(query(database, f"select t::text from {table} t order by 1")) for table in tables)  # noqa: S608


def at_once(count: int, call: Callable[[int], T]) -> list[T]:
    """Runs something in many threads; errors of any of them come out."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(call, range(count)))


def lease_verbs(instance_id: UUID) -> dict[str, Callable[[Database, Lease], object]]:
    """Every verb that writes under a lease."""
    return {
        "heartbeat": lambda d, lease: leases.heartbeat(d, lease, lease_seconds=60),
        "hand_over": leases.hand_over,
        "put_off": lambda d, lease: leases.put_off(d, lease, 60, "x"),
        "record a phase": lambda d, lease: leases.record(d, lease, [PhaseEntered(Phase.CLONE_CONTAINER, "x")]),
        "record a line": lambda d, lease: leases.record(d, lease, [Logged(None, "info", "x")]),
        "record a retry": lambda d, lease: leases.record(d, lease, [Retried(Phase.ALLOCATE_VMID, 9)]),
        "allocate_vmid": lambda d, lease: allocate_vmid(d, lease, (5000, 5999)),
        "give_up_vmid": lambda d, lease: leases.give_up_vmid(d, lease, 5000),
        "record a clone": lambda d, lease: leases.record(d, lease, [CloneBegun("UPID:x", "x")]),
        "record a publication": lambda d, lease: leases.record(d, lease, [PublicationsRecorded((PUBLICATION,))]),
        "record a struck publication": lambda d, lease: leases.record(d, lease, [PublicationsStruck((PUBLICATION,))]),
        "record a cleanup": lambda d, lease: leases.record(d, lease, [CleanupRecorded(CLEANED)]),
        "complete READY": lambda d, lease: endings.complete(d, PROVISION, instance_id, lease, address=None),
        "complete ARCHIVED": lambda d, lease: endings.complete(d, TEARDOWN, instance_id, lease),
        "begin_cleaning": lambda d, lease: endings.begin_cleaning(d, lease, FAILURE),
        "complete STOPPED": lambda d, lease: endings.complete(d, STOP, instance_id, lease),
        "complete CLEANED": lambda d, lease: endings.complete(d, CLEANUP, instance_id, lease),
        "finish_undone": lambda d, lease: endings.finish_undone(d, instance_id, lease, undone(CLEANED)),
        "fail": lambda d, lease: endings.fail(d, instance_id, lease, FAILURE, attend_seconds=1),
    }
