"""Cancel, retry, start and stop, on a real PostgreSQL."""

from uuid import UUID, uuid4

import pytest

from orchestrator.domain.admission import Demand, request_hash
from orchestrator.domain.errors import CancelRequested, Code, Problem, ProblemCode
from orchestrator.domain.models import CANCELLED, InstanceRow, Lease, OperationRow
from orchestrator.domain.operations import PROVISION, START, STOP, TEARDOWN, UNPUBLISH, OperationKind
from orchestrator.domain.states import InstanceStatus, OperationStatus
from orchestrator.store import accounts, endings, leases, orders, requests
from orchestrator.store.connection import Database
from tests.support.fix_database import CUSTOMER
from tests.support.storage import (
    ATTEND_SECONDS,
    CLEANED,
    FAILURE,
    LEAKED,
    at_once,
    claim,
    claimant,
    empty_queue,
    everything,
    expire,
    give_back,
    instance,
    messages,
    operation,
    place,
    provision,
    query,
    queued,
    start,
    swept,
    try_claim,
    undone,
)  # fmt: skip


def keep(database: Database) -> OperationRow:
    """A failed order whose machine is kept."""
    lease = start(database)
    give_back(database, lease, kept=True)
    return operation(database, lease.operation_id)


def power(database: Database, server: InstanceRow, kind: OperationKind) -> UUID:
    placed = requests.place(database, kind, server_id=server.id, vmid=None, customer_id=CUSTOMER)
    assert placed is not None
    return placed[0]


# cancel


def test_cancels_what_is_queued_at_once_and_for_good(database: Database) -> None:
    placed = place(database)
    assert requests.place_cancel(database, placed.operation_id, CUSTOMER)
    row = operation(database, placed.operation_id)
    assert (row.status, row.error, row.attempt) == (OperationStatus.CANCELLED, CANCELLED, 0)
    assert row.finished_at is not None
    assert instance(database, placed.instance_id).status is InstanceStatus.FAILED
    assert try_claim(database, placed.operation_id) is None


def test_lets_exactly_one_of_a_claim_and_a_cancel_have_a_queued_operation(database: Database) -> None:
    for _ in range(10):
        operation_id = place(database).operation_id

        def race(number: int, operation_id: UUID = operation_id) -> object:
            if number:
                return requests.place_cancel(database, operation_id, CUSTOMER)
            return try_claim(database, operation_id)

        claimed, _ = at_once(2, race)
        status = operation(database, operation_id).status
        assert status is (OperationStatus.RUNNING if claimed else OperationStatus.CANCELLED)


def test_tells_the_worker_of_a_running_operation(database: Database) -> None:
    lease = start(database)
    assert not leases.heartbeat(database, lease, lease_seconds=30)
    assert requests.place_cancel(database, lease.operation_id, CUSTOMER)
    assert leases.heartbeat(database, lease, lease_seconds=30)
    before = everything(database)
    assert requests.place_cancel(database, lease.operation_id, CUSTOMER), "asking again is fine, and changes nothing"
    assert everything(database) == before
    assert messages(database, lease.operation_id)[-1] == "cancel requested"


def test_never_finishes_well_what_was_cancelled_before(database: Database) -> None:
    lease = start(database)
    row = operation(database, lease.operation_id)
    assert requests.place_cancel(database, row.id, CUSTOMER)
    with pytest.raises(CancelRequested):
        endings.complete(database, PROVISION, row.instance_id, lease, address=None)
    assert operation(database, row.id).status is OperationStatus.RUNNING
    endings.begin_cleaning(database, lease, CANCELLED)
    endings.finish_undone(database, row.instance_id, lease, undone(CLEANED, cancelled=True))
    after = operation(database, row.id)
    assert (after.status, after.error) == (OperationStatus.CANCELLED, CANCELLED)
    left = instance(database, row.instance_id)
    assert (left.status, left.vmid) == (InstanceStatus.FAILED, None)


def test_undoes_a_handed_over_operation_that_is_cancelled_in_the_queue(database: Database) -> None:
    lease = start(database)
    leases.hand_over(database, lease)
    empty_queue(database)
    assert requests.place_cancel(database, lease.operation_id, CUSTOMER)
    assert queued(database) == [lease.operation_id]
    row = try_claim(database, lease.operation_id)
    assert row is not None
    assert (row.status, row.cancel_requested_at is not None) == (OperationStatus.RUNNING, True)


def test_refuses_to_cancel_what_has_finished(database: Database) -> None:
    lease = start(database)
    row = operation(database, lease.operation_id)
    endings.complete(database, PROVISION, row.instance_id, lease, address=None)
    with pytest.raises(Problem) as refused:
        requests.place_cancel(database, row.id, CUSTOMER)
    assert refused.value.code is ProblemCode.ALREADY_FINISHED


def test_refuses_to_cancel_what_cannot_be_undone(database: Database) -> None:
    ready = provision(database)
    placed = requests.place(database, TEARDOWN, server_id=ready.id, vmid=None, customer_id=CUSTOMER)
    assert placed is not None
    with pytest.raises(Problem) as refused:
        requests.place_cancel(database, placed[0], CUSTOMER)
    assert refused.value.code is ProblemCode.NOT_CANCELLABLE


def test_cancels_nothing_that_is_unknown_or_somebody_elses(database: Database) -> None:
    placed = place(database)
    before = everything(database)
    assert not requests.place_cancel(database, uuid4(), CUSTOMER)
    assert not requests.place_cancel(database, placed.operation_id, "somebody-else")
    assert everything(database) == before


# what is kept


def test_bounds_the_machines_that_are_kept_outside_the_quota(database: Database) -> None:
    def place_kept(number: int) -> object:
        spec = {"ctype": "game", "on_failure": "keep"}
        demand = Demand(str(number), request_hash(spec), "game", 1, 1, keep=True)
        try:
            return orders.place_order(database, orders.Order(CUSTOMER, demand, spec))
        except Problem as problem:
            return problem.extra["resource"]

    keep(database)
    outcomes = at_once(8, place_kept)
    assert outcomes.count("keptInstances") == 6, "one is kept, two may come to be"
    place(database)


# retry


def test_retries_on_the_machine_that_was_kept(database: Database) -> None:
    failed = keep(database)
    empty_queue(database)
    retry = requests.place_retry(database, failed.id, CUSTOMER)
    assert retry is not None
    row = operation(database, retry)
    assert (row.kind, row.vmid, row.hostname, row.retry_of) == (
        PROVISION.name, failed.vmid, failed.hostname, failed.id,
    )  # fmt: skip
    assert (row.spec, row.status) == (failed.spec, OperationStatus.QUEUED)
    assert queued(database) == [retry]
    again = instance(database, failed.instance_id)
    assert (again.status, again.expires_at, again.active_operation) == (InstanceStatus.PROVISIONING, None, retry)
    assert requests.place_retry(database, failed.id, CUSTOMER) == retry, "asking again gives the same"
    endings.complete(database, PROVISION, failed.instance_id, claim(database, retry), address=None)
    with pytest.raises(Problem, match="onFailure"):
        requests.place_retry(database, failed.id, CUSTOMER)


def test_makes_one_retry_of_many_at_once(database: Database) -> None:
    failed = keep(database)
    assert len(set(at_once(6, lambda _: requests.place_retry(database, failed.id, CUSTOMER)))) == 1


def test_refuses_to_retry_what_was_not_kept(database: Database) -> None:
    lease = start(database)
    for expected in ("running", "cleaned up"):
        with pytest.raises(Problem) as refused:
            requests.place_retry(database, lease.operation_id, CUSTOMER)
        assert refused.value.code is ProblemCode.NOT_RETRYABLE, expected
        if expected == "running":
            give_back(database, lease)


def test_counts_a_kept_machine_again_when_it_is_retried(database: Database) -> None:
    accounts.update_customer(database, CUSTOMER, max_instances=1)
    failed = keep(database)
    place(database)  # the kept one does not count
    with pytest.raises(Problem) as refused:
        requests.place_retry(database, failed.id, CUSTOMER)
    assert refused.value.code is ProblemCode.QUOTA_EXCEEDED


def test_refuses_a_retry_of_an_account_that_was_stopped_meanwhile(database: Database) -> None:
    failed = keep(database)
    accounts.update_customer(database, CUSTOMER, billing_state="suspended")
    for asking in (CUSTOMER, None):
        with pytest.raises(Problem) as refused:
            requests.place_retry(database, failed.id, asking)
        assert refused.value.code is ProblemCode.CUSTOMER_SUSPENDED


def test_retries_nothing_that_is_unknown_or_somebody_elses(database: Database) -> None:
    failed = keep(database)
    before = everything(database)
    assert requests.place_retry(database, uuid4(), CUSTOMER) is None
    assert requests.place_retry(database, failed.id, "somebody-else") is None
    assert everything(database) == before


def test_counts_as_left_behind_nothing_that_a_retry_uses_again(database: Database) -> None:
    lease = start(database)
    give_back(database, lease, LEAKED, kept=True)
    retry = requests.place_retry(database, lease.operation_id, CUSTOMER)
    assert retry is not None
    instance_id = operation(database, retry).instance_id
    assert instance(database, instance_id).leaked == LEAKED.leaked
    endings.complete(database, PROVISION, instance_id, claim(database, retry), address=None)
    assert instance(database, instance_id).leaked == ()


def test_undoes_a_retry_that_is_cancelled_in_the_queue(database: Database) -> None:
    failed = keep(database)
    retry = requests.place_retry(database, failed.id, CUSTOMER)
    assert retry is not None
    assert requests.place_cancel(database, retry, CUSTOMER)
    row = try_claim(database, retry)
    assert row is not None
    assert row.cancel_requested_at is not None, "its worker undoes it: the machine that was kept is there"
    lease = Lease(operation_id=retry, fencing_token=row.fencing_token)
    endings.begin_cleaning(database, lease, CANCELLED)
    endings.finish_undone(database, failed.instance_id, lease, undone(CLEANED, cancelled=True))
    left = instance(database, failed.instance_id)
    assert (operation(database, retry).status, left.vmid) == (OperationStatus.CANCELLED, None)


# start and stop


def test_stops_and_starts(database: Database) -> None:
    ready = provision(database)
    stop = power(database, ready, STOP)
    assert power(database, ready, STOP) == stop, "asking again gives the same"
    endings.complete(database, STOP, ready.id, claim(database, stop))
    assert instance(database, ready.id).status is InstanceStatus.STOPPED
    lease = claim(database, power(database, ready, START))
    endings.complete(database, PROVISION, ready.id, lease, address="192.0.2.9")
    again = instance(database, ready.id)
    assert (again.status, str(again.address), again.ready_at) == (InstanceStatus.READY, "192.0.2.9", ready.ready_at)


@pytest.mark.parametrize(
    ("cleanup", "expected"), [(CLEANED, InstanceStatus.STOPPED), (LEAKED, InstanceStatus.STOPPING)]
)
def test_is_stopped_after_a_start_that_was_undone(
    database: Database, cleanup: object, expected: InstanceStatus
) -> None:
    ready = provision(database)
    lease = claim(database, power(database, ready, START))
    endings.begin_cleaning(database, lease, FAILURE)
    ended = undone(CLEANED if cleanup is CLEANED else LEAKED, kind=START)
    endings.finish_undone(database, ready.id, lease, ended)
    assert instance(database, ready.id).status is expected
    assert instance(database, ready.id).vmid == ready.vmid


def test_refuses_power_while_something_else_is_done(database: Database) -> None:
    ready = provision(database)
    stop = power(database, ready, STOP)
    with pytest.raises(Problem) as refused:
        power(database, ready, START)
    assert (refused.value.code, refused.value.extra) == (ProblemCode.INSTANCE_BUSY, {"operationId": str(stop)})


def test_refuses_power_where_nothing_can_run(database: Database) -> None:
    failed = keep(database)
    with pytest.raises(Problem) as refused:
        power(database, instance(database, failed.instance_id), START)
    assert refused.value.code is ProblemCode.NOT_STARTABLE


def test_case_a4_a_server_is_not_ready_from_the_moment_when_a_worker_stops_it(database: Database) -> None:
    ready = provision(database)
    stop = power(database, ready, STOP)
    assert instance(database, ready.id).status is InstanceStatus.READY, "nothing was done to it yet"
    lease = claim(database, stop)
    assert instance(database, ready.id).status is InstanceStatus.STOPPING
    endings.fail(database, ready.id, lease, FAILURE, attend_seconds=ATTEND_SECONDS)
    row = operation(database, lease.operation_id)
    assert row.error is not None
    assert (row.status, row.error.code) == (OperationStatus.FAILED, Code.AGENT_ERROR)
    assert instance(database, ready.id).status is InstanceStatus.STOPPING
    assert swept(database).begun == [], "not at once"
    query(database, "update instance set attend_at = now() - interval '1 second'")
    (begun,) = swept(database).begun
    assert operation(database, begun).kind == STOP.name


def test_case_a4_a_stop_that_lost_two_workers_is_begun_again(database: Database) -> None:
    ready = provision(database)
    stop = power(database, ready, STOP)
    for _ in range(2):
        expire(database, claim(database, stop).operation_id)
        assert swept(database).lost == [stop]
    assert instance(database, ready.id).status is InstanceStatus.STOPPING
    query(database, "update instance set attend_at = now() - interval '1 second'")
    (begun,) = swept(database).begun
    assert operation(database, begun).kind == STOP.name


def test_case_a4_looks_after_a_ready_server_that_an_earlier_release_left_half_stopped(database: Database) -> None:
    ready = provision(database)
    query(database, "update instance set attend_at = now() - interval '1 second'")
    (begun,) = swept(database).begun
    assert operation(database, begun).kind == STOP.name
    assert instance(database, ready.id).active_operation == begun


def test_case_a4_starts_a_server_whose_stop_failed_or_stops_it_when_that_is_cancelled(database: Database) -> None:
    ready = provision(database)
    lease = claim(database, power(database, ready, STOP))
    endings.fail(database, ready.id, lease, FAILURE, attend_seconds=ATTEND_SECONDS)
    assert requests.place_cancel(database, power(database, ready, START), CUSTOMER)
    (begun,) = swept(database).begun
    endings.fail(database, ready.id, claim(database, begun), FAILURE, attend_seconds=ATTEND_SECONDS)
    endings.complete(database, START, ready.id, claim(database, power(database, ready, START)))
    again = instance(database, ready.id)
    assert (again.status, again.attend_at, again.failing_since) == (InstanceStatus.READY, None, None)


def test_case_a5_refuses_a_retry_while_the_sweep_takes_the_kept_machine_off_the_edge(database: Database) -> None:
    lease = start(database)
    give_back(database, lease, LEAKED, kept=True)
    query(database, "update instance set attend_at = now() - interval '1 second'")
    (begun,) = swept(database).begun
    row = operation(database, begun)
    assert (row.kind, row.background) == (UNPUBLISH.name, True)
    with pytest.raises(Problem) as refused:
        requests.place_retry(database, lease.operation_id, CUSTOMER)
    assert (refused.value.code, refused.value.extra) == (ProblemCode.INSTANCE_BUSY, {"operationId": str(begun)})
    endings.complete(database, UNPUBLISH, row.instance_id, claim(database, begun))
    kept = instance(database, row.instance_id)
    assert (kept.status, kept.leaked, kept.attend_at) == (InstanceStatus.QUARANTINED, (), None)
    assert kept.expires_at is not None
    assert requests.place_retry(database, lease.operation_id, CUSTOMER) is not None


def test_stops_by_itself_what_a_failed_start_may_have_left_running(database: Database) -> None:
    ready = provision(database)
    endings.complete(database, STOP, ready.id, claim(database, power(database, ready, STOP)))
    lease = claim(database, power(database, ready, START))
    endings.begin_cleaning(database, lease, FAILURE)
    endings.finish_undone(database, ready.id, lease, undone(LEAKED, kind=START))
    left = instance(database, ready.id)
    assert (left.status, left.leaked) == (InstanceStatus.STOPPING, LEAKED.leaked), "it may still run"
    query(database, "update instance set attend_at = now() - interval '1 second'")
    (begun,) = swept(database).begun
    assert operation(database, begun).kind == STOP.name
    endings.complete(database, STOP, ready.id, claim(database, begun))
    assert instance(database, ready.id).leaked == ()


def test_stops_what_was_left_running_although_another_start_was_cancelled(database: Database) -> None:
    ready = provision(database)
    endings.complete(database, STOP, ready.id, claim(database, power(database, ready, STOP)))
    lease = claim(database, power(database, ready, START))
    endings.begin_cleaning(database, lease, FAILURE)
    endings.finish_undone(database, ready.id, lease, undone(LEAKED, kind=START))
    assert requests.place_cancel(database, power(database, ready, START), CUSTOMER)
    (begun,) = swept(database).begun
    assert operation(database, begun).kind == STOP.name


def test_leaves_a_server_running_that_ran_before_its_start_failed(database: Database) -> None:
    ready = provision(database)
    lease = claim(database, power(database, ready, START))
    endings.begin_cleaning(database, lease, FAILURE)
    ended = undone(CLEANED, kind=START, untouched=True)
    endings.finish_undone(database, ready.id, lease, ended)
    assert instance(database, ready.id).status is InstanceStatus.READY
    assert messages(database, lease.operation_id)[-1] == "the server runs as it did before"


def test_cancels_a_start_that_waits_while_the_account_is_stopped(database: Database) -> None:
    ready = provision(database)
    endings.complete(database, STOP, ready.id, claim(database, power(database, ready, STOP)))
    start_id = power(database, ready, START)
    assert swept(database).unwanted == []
    accounts.update_customer(database, CUSTOMER, billing_state="suspended")
    assert swept(database).unwanted == [start_id]
    assert operation(database, start_id).status is OperationStatus.CANCELLED
    assert instance(database, ready.id).status is InstanceStatus.STOPPED


def test_waits_for_a_late_clone_before_it_deletes_what_a_cancelled_order_left(database: Database) -> None:
    lease = start(database)
    give_back(database, lease, CLEANED, certain=False)
    row = operation(database, lease.operation_id)
    placed = requests.place(database, TEARDOWN, server_id=row.instance_id, vmid=None, customer_id=CUSTOMER)
    assert placed is not None
    assert leases.claim_next(database, claimant()) is None, "its VMID would be free before the clone comes"
    query(database, "update instance set attend_at = now() - interval '1 second'")
    taken = leases.claim_next(database, claimant())
    assert taken is not None
    assert (taken.operation.id, taken.operation.vmid) == (placed[0], row.vmid)
