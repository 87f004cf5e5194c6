"""How operations end, and their instances with them, on a real PostgreSQL."""

import pytest

from orchestrator.domain.errors import IllegalTransition
from orchestrator.domain.models import Cleanup
from orchestrator.domain.operations import PROVISION, TEARDOWN
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import InstanceStatus, OperationStatus
from orchestrator.domain.updates import PhaseEntered
from orchestrator.store import endings, leases, reads, requests
from orchestrator.store.connection import Database
from tests.support.fix_database import CUSTOMER
from tests.support.storage import (
    ATTEND_SECONDS,
    CLEANED,
    FAILURE,
    LEAKED,
    claim,
    give_back,
    instance,
    messages,
    operation,
    phases,
    provision,
    query,
    start,
)

# how operations end


def test_completes_a_provision(database: Database) -> None:
    lease = start(database)
    row = operation(database, lease.operation_id)
    endings.complete(database, PROVISION, row.instance_id, lease, address="192.0.2.7", hostname="mc-x")
    after = operation(database, lease.operation_id)
    assert (after.status, after.phase, after.error) == (OperationStatus.SUCCEEDED, Phase.COMPLETE, None)
    assert after.finished_at is not None
    assert phases(database, lease.operation_id) == {"allocate-vmid": "ok", "complete": "ok"}
    assert messages(database, lease.operation_id)[-1] == "mc-x is ready"
    ready = instance(database, row.instance_id)
    assert (ready.status, str(ready.address), ready.active_operation) == (InstanceStatus.READY, "192.0.2.7", None)
    assert ready.ready_at is not None


def test_completes_a_teardown_and_frees_the_vmid(database: Database) -> None:
    ready = provision(database)
    placed = requests.place(database, TEARDOWN, server_id=ready.id, vmid=None, customer_id=CUSTOMER)
    assert placed is not None
    assert instance(database, ready.id).status is InstanceStatus.DELETING
    lease = claim(database, placed[0])
    endings.complete(database, TEARDOWN, ready.id, lease)
    after = operation(database, lease.operation_id)
    assert (after.status, after.vmid) == (OperationStatus.SUCCEEDED, ready.vmid)
    assert reads.get_instance(database, server_id=ready.id, vmid=None, customer_id=None) is None
    assert reads.deleted_at(database, ready.id, CUSTOMER) is not None
    assert reads.deleted_at(database, ready.id, "somebody-else") is None
    ((vmid,),) = query(database, "select vmid from archived_instance where id = %s", ready.id)
    assert vmid == ready.vmid
    assert query(database, "select from instance where vmid = %s", ready.vmid) == []


def test_keeps_the_instance_when_its_teardown_fails_and_continues_when_asked_again(database: Database) -> None:
    ready = provision(database)
    first = requests.place(database, TEARDOWN, server_id=ready.id, vmid=None, customer_id=None)
    assert first is not None
    lease = claim(database, first[0])
    leases.record(database, lease, [PhaseEntered(Phase.STOP_CONTAINER, "x")])
    endings.fail(database, ready.id, lease, FAILURE, attend_seconds=ATTEND_SECONDS)
    after = operation(database, first[0])
    assert (after.status, after.error) == (OperationStatus.FAILED, FAILURE)
    assert phases(database, first[0]) == {"stop-container": "failed"}
    assert instance(database, ready.id).status is InstanceStatus.DELETING
    second = requests.place(database, TEARDOWN, server_id=ready.id, vmid=None, customer_id=None)
    assert second is not None
    assert second[0] != first[0]
    endings.complete(database, TEARDOWN, ready.id, claim(database, second[0]))


def test_keeps_the_reason_while_it_cleans_up(database: Database) -> None:
    lease = start(database)
    leases.record(database, lease, [PhaseEntered(Phase.CLONE_CONTAINER, "x")])
    endings.begin_cleaning(database, lease, FAILURE)
    row = operation(database, lease.operation_id)
    assert (row.status, row.error, row.finished_at) == (OperationStatus.CLEANING, FAILURE, None)
    assert phases(database, lease.operation_id)["clone-container"] == "failed"
    assert messages(database, lease.operation_id)[-1] == FAILURE.message
    leases.record(database, lease, [PhaseEntered(Phase.DELETE_CONTAINER, "x")])
    leases.heartbeat(database, lease, lease_seconds=60)


@pytest.mark.parametrize(("cleanup", "released"), [(CLEANED, True), (LEAKED, False)])
def test_releases_the_vmid_only_when_all_is_cleaned_up(database: Database, cleanup: Cleanup, released: bool) -> None:
    lease = start(database)
    before = operation(database, lease.operation_id)
    give_back(database, lease, cleanup)
    after = operation(database, lease.operation_id)
    assert (after.status, after.error, after.cleanup) == (OperationStatus.FAILED, FAILURE, cleanup)
    assert after.finished_at is not None
    assert after.vmid == before.vmid
    left = instance(database, before.instance_id)
    assert left.status is InstanceStatus.FAILED
    assert (left.vmid, left.hostname) == ((None, None) if released else (before.vmid, before.hostname))


def test_raises_illegal_transition_when_the_database_refuses(database: Database) -> None:
    ready = provision(database)
    with pytest.raises(IllegalTransition, match="cannot go from ready to provisioning"):
        query(database, "update instance set status = 'provisioning' where id = %s", ready.id)
    lease = start(database)
    with pytest.raises(IllegalTransition, match="cannot go from ready to failed"):
        query(database, "update instance set status = 'failed' where id = %s", ready.id)
    query(
        database,
        "update instance set status = 'failed' where id = (select instance_id from operation where id = %s)",
        lease.operation_id,
    )
    row = operation(database, lease.operation_id)
    with pytest.raises(IllegalTransition, match="cannot go from failed to ready"):
        endings.complete(database, PROVISION, row.instance_id, lease, address=None)
    assert operation(database, lease.operation_id) == row, "nothing of the refused verb is left"
