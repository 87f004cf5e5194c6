"""What a worker does with the store, as the benchmark of growth tries it: claims, what it writes, and every ending."""

from itertools import count
from typing import Any
from uuid import UUID

from bench.verbs import SMALL, Verb, place
from orchestrator.domain.errors import Code
from orchestrator.domain.models import Claim, Cleanup, Failure, InstanceRow, Lease
from orchestrator.domain.operations import PROVISION, STOP, TEARDOWN, OperationKind
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
)
from orchestrator.store import callbacks, endings, leases, orders, reads, requests
from orchestrator.store.connection import Database
from orchestrator.store.queries import execute

_FAILURE = Failure(code=Code.INTERNAL, message="it failed")
_CLEANUP = Cleanup(status=PhaseStatus.OK)
_CLAIMANT = leases.Claimant("worker", 30, None, concurrency=1_000_000, node="node", node_concurrency=1_000_000)
_VMIDS = (5000, 5999)
_PUBLICATION = Publication("technitium", "lab/lab.example", "TXT", "name", "value")
_offsets = count()


def worker_verbs() -> dict[str, Verb]:
    """What a worker does from a claim to the end of its operation."""
    return {
        "a claim, and an order carried out": _carry_out,
        "an order that is handed over": _hand_over,
        "an order that is put off": lambda database: leases.put_off(database, _claim(database)[1], 60, "waiting"),
        "an order that fails, and its retry": _fail_and_retry,
        "orders that are cancelled": _cancel,
        "a stop": lambda database: endings.complete(database, STOP, *_begin(database, STOP)),
        "a deletion": _delete,
        "a deletion that fails": _fail_deletion,
        "endings of instances": _end_instances,
    }


def _claim(database: Database) -> tuple[UUID, Lease]:
    """Take the operation whose turn it is. Returns its instance, and the lease."""
    claim = leases.claim_next(database, _CLAIMANT)
    assert claim is not None
    return _read_claim(claim)


def _read_claim(claim: Claim) -> tuple[UUID, Lease]:
    operation = claim.operation
    return operation.instance_id, Lease(operation_id=operation.id, fencing_token=operation.fencing_token)


def _carry_out(database: Database) -> None:
    instance_id, lease = _claim(database)
    leases.heartbeat(database, lease, lease_seconds=30)
    found = leases.allocate_vmid(database, lease, ctype="game", bounds=_VMIDS, name=lambda vmid: f"mc-{vmid}")
    assert found is not None
    leases.record(
        database,
        lease,
        [
            PhaseEntered(Phase.CLONE_CONTAINER, "cloning"),
            CloneBegun("UPID", "cloning"),
            Logged(None, "info", "a line"),
            Retried(Phase.CLONE_CONTAINER, 1),
            PublicationsRecorded((_PUBLICATION,)),
            PublicationsStruck((_PUBLICATION,)),
            PhasesClosed(PhaseStatus.OK),
        ],
    )
    token = callbacks.create_callback(database, lease)
    assert callbacks.use_callback(database, token, "provisioned", "it is there")
    endings.complete(database, PROVISION, instance_id, lease, hostname=found[1])


def _hand_over(database: Database) -> None:
    _, lease = _claim(database)
    leases.allocate_vmid(database, lease, ctype="game", bounds=_VMIDS, name=lambda vmid: f"mc-{vmid}")
    leases.give_up_vmid(database, lease, _VMIDS[0])
    leases.hand_over(database, lease)
    orders.pass_on(database, lease.operation_id)


def _fail_and_retry(database: Database) -> None:
    instance_id, lease = _claim(database)
    endings.begin_cleaning(database, lease, _FAILURE)
    leases.record(database, lease, [CleanupRecorded(_CLEANUP)])
    undone = endings.Undone(PROVISION, _CLEANUP, 60, 86400, kept=True)
    endings.finish_undone(database, instance_id, lease, undone)
    for _ in range(2):
        assert requests.place_retry(database, lease.operation_id, None) is not None


def _cancel(database: Database) -> None:
    placed = place(SMALL, database)
    assert requests.place_cancel(database, placed.operation_id, SMALL)
    _, lease = _claim(database)
    assert requests.place_cancel(database, lease.operation_id, None)


def _begin(database: Database, kind: OperationKind) -> tuple[UUID, Lease]:
    """Ask for an operation on another server each time, and take it. Returns its instance, and the lease."""
    instance = _choose_instance(database)
    placed = requests.place(database, kind, server_id=instance.id, vmid=None, customer_id=instance.customer_id)
    assert placed is not None
    with database.transaction() as connection:
        claim = leases.claim(connection, placed[0], _CLAIMANT)
    assert claim is not None
    return _read_claim(claim)


def _choose_instance(database: Database) -> InstanceRow:
    """Choose another ready server each time."""
    ready = [row for row in reads.list_instances(database, customer_id=None) if row.status == "ready"]
    return ready[next(_offsets) % len(ready)]


def _delete(database: Database) -> None:
    instance_id, lease = _begin(database, TEARDOWN)
    row = reads.get_instance(database, server_id=instance_id, vmid=None, customer_id=None)
    assert row is not None
    published = tuple(
        Publication("technitium", "lab/lab.example", kind, row.hostname or "", "127.0.0.1") for kind in ("A", "SRV")
    )
    leases.record(database, lease, [PublicationsStruck(published)])
    endings.complete(database, TEARDOWN, instance_id, lease)


def _fail_deletion(database: Database) -> None:
    instance_id, lease = _begin(database, TEARDOWN)
    endings.fail(database, instance_id, lease, _FAILURE, attend_seconds=60)


def _end_instances(database: Database) -> None:
    """Run what the other verbs come by only in states that take many steps to reach."""
    instance = _choose_instance(database)
    facts: dict[str, Any] = {
        "instance_id": instance.id, "leaked": ["container:1"], "released": True, "attend_seconds": 60,
        "quarantine_seconds": 60,
    }  # fmt: skip
    with database.transaction() as connection:
        for query in ("instance_failed", "instance_left_running", "instance_cleaned", "instance_unpublished"):
            execute(connection, query, **facts)
        execute(connection, "record_earlier", instance_id=instance.id, **_PUBLICATION.as_dict())
    requests.place(database, TEARDOWN, server_id=instance.id, vmid=None, customer_id=None)
