"""Sweeps, on a real PostgreSQL: lost workers, lost wake-ups, orders nobody took, and what nobody asks for."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg.conninfo import make_conninfo

from orchestrator.domain.errors import Code
from orchestrator.domain.models import CANCELLED, OperationRow
from orchestrator.domain.operations import CLEANUP, START, STOP, TEARDOWN
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import InstanceStatus, OperationStatus
from orchestrator.domain.updates import PhaseEntered
from orchestrator.store import accounts, endings, leases, reads, requests, sweep
from orchestrator.store.connection import Database
from tests.support.fix_database import CUSTOMER
from tests.support.storage import (
    CLEANED,
    FAILURE,
    LEAKED,
    at_once,
    claim,
    empty_queue,
    expire,
    give_back,
    instance,
    messages,
    operation,
    phases,
    place,
    provision,
    query,
    queued,
    start,
    swept,
    try_claim,
    undone,
)  # fmt: skip

LONG_AGO = "now() - interval '1 day'"


def lose(database: Database, *, times: int = 1) -> OperationRow:
    """A provision in its clone phase whose worker was lost so often, and that was swept each time."""
    lease = start(database)
    leases.record(database, lease, [PhaseEntered(Phase.CLONE_CONTAINER, "x")])
    for number in range(times):
        if number:
            lease = claim(database, lease.operation_id)
            leases.record(database, lease, [PhaseEntered(Phase.CLONE_CONTAINER, "x")])
        empty_queue(database)
        expire(database, lease.operation_id)
        assert swept(database).lost == [lease.operation_id]
    return operation(database, lease.operation_id)


# orders that workers put back


@pytest.mark.parametrize(("over", "fails"), [(True, True), (False, False)])
def test_case_a15_fails_an_order_that_was_put_back_when_its_time_is_over(
    database: Database, over: bool, fails: bool
) -> None:
    lease = start(database)
    leases.hand_over(database, lease, "its worker cannot work")
    query(database, f"update operation set created_at = {LONG_AGO}")  # noqa: S608
    if over:
        query(database, f"update operation set deadline_at = {LONG_AGO}")  # noqa: S608
    assert swept(database).overdue == ([lease.operation_id] if fails else [])
    if fails:
        failed = operation(database, lease.operation_id)
        assert failed.error is not None
        assert (failed.status, failed.error.code) == (OperationStatus.FAILED, Code.DEADLINE_EXCEEDED)
        assert failed.error.detail == {"worker": "handed over: its worker cannot work"}
        left = instance(database, failed.instance_id)
        assert left.status is InstanceStatus.FAILED
        assert left.vmid is not None, "something may have been made, so the VMID is kept until it is looked for"
        swept(database)
        assert [each.kind for each in reads.list_operations(database, customer_id=None)] == [
            CLEANUP.name, "provision",
        ]  # fmt: skip


def test_case_a15_stops_a_server_whose_start_was_put_back_until_its_time_was_over(database: Database) -> None:
    ready = provision(database)
    query(database, "update instance set status = 'stopped'")
    placed = requests.place(database, START, server_id=ready.id, vmid=None, customer_id=None)
    assert placed is not None
    leases.hand_over(database, claim(database, placed[0]), "its worker cannot work")
    query(database, f"update operation set created_at = {LONG_AGO}, deadline_at = {LONG_AGO}")  # noqa: S608
    assert swept(database).overdue == [placed[0]]
    swept(database)
    assert reads.list_operations(database, customer_id=None)[0].kind == STOP.name


# wake-ups


def test_wakes_a_queued_operation_whose_message_was_lost(database: Database) -> None:
    placed = place(database)
    assert queued(database) == [placed.operation_id]
    empty_queue(database)
    assert swept(database).woken == []
    time.sleep(0.01)
    assert swept(database, requeue_seconds=0.005).woken == [placed.operation_id]
    assert queued(database) == [placed.operation_id]
    assert swept(database).woken == []
    assert operation(database, placed.operation_id).status is OperationStatus.QUEUED


def test_wakes_nobody_while_a_message_is_there(database: Database) -> None:
    place(database)
    place(database)
    query(database, "delete from huey_task where id = (select min(id) from huey_task)")
    time.sleep(0.01)
    assert swept(database, requeue_seconds=0.005).woken == []


def test_leaves_a_running_operation_alone_while_its_lease_holds(database: Database) -> None:
    lease = start(database)
    row = operation(database, lease.operation_id)
    empty_queue(database)
    assert swept(database, requeue_seconds=0.000001).woken == []
    assert operation(database, lease.operation_id) == row


# lost workers


def test_resumes_an_operation_that_lost_its_worker(database: Database) -> None:
    row = lose(database)
    assert (row.status, row.losses, row.error, row.finished_at) == (OperationStatus.QUEUED, 1, None, None)
    assert row.vmid is not None
    assert phases(database, row.id)["clone-container"] == "pending"
    assert messages(database, row.id)[-1] == "its worker stopped answering: another goes on"
    assert queued(database) == [row.id]
    again = try_claim(database, row.id)
    assert again is not None
    assert (again.vmid, again.attempt) == (row.vmid, 2)
    assert again.fencing_token > row.fencing_token
    assert again.deadline_at == row.deadline_at


def test_fails_and_undoes_a_provision_that_lost_two_workers(database: Database) -> None:
    row = lose(database, times=2)
    assert row.status is OperationStatus.CLEANING
    assert row.error is not None
    assert (row.error.code, row.error.phase) == (Code.WORKER_LOST, "clone-container")
    assert phases(database, row.id)["clone-container"] == "failed"
    assert messages(database, row.id)[-1] == sweep.LOST.message
    assert queued(database) == [row.id]
    endings.finish_undone(database, row.instance_id, claim(database, row.id), undone(CLEANED))
    assert operation(database, row.id).error == row.error
    assert swept(database).lost == []


def test_undoes_a_lost_operation_whose_cancel_nobody_heard(database: Database) -> None:
    lease = start(database)
    assert requests.place_cancel(database, lease.operation_id, CUSTOMER)
    expire(database, lease.operation_id)
    assert swept(database).lost == [lease.operation_id]
    row = operation(database, lease.operation_id)
    assert row.status is OperationStatus.CLEANING
    assert row.error is not None
    assert (row.error.code, row.error.message) == (Code.CANCELLED, CANCELLED.message)


def test_takes_a_cleaning_up_away_from_a_lost_worker(database: Database) -> None:
    lease = start(database)
    endings.begin_cleaning(database, lease, FAILURE)
    empty_queue(database)
    expire(database, lease.operation_id)
    assert swept(database, requeue_seconds=0.000001).woken == [lease.operation_id]
    assert queued(database) == [lease.operation_id]
    row = try_claim(database, lease.operation_id)
    assert row is not None
    assert row.error == FAILURE, "the first reason stays"


def test_resumes_a_teardown_and_takes_it_up_again_when_it_is_lost_twice(database: Database) -> None:
    ready = provision(database)
    placed = requests.place(database, TEARDOWN, server_id=ready.id, vmid=None, customer_id=None)
    assert placed is not None
    for expected in (OperationStatus.QUEUED, OperationStatus.FAILED):
        lease = claim(database, placed[0])
        leases.record(database, lease, [PhaseEntered(Phase.STOP_CONTAINER, "x")])
        expire(database, placed[0])
        assert swept(database).lost == [placed[0]]
        assert operation(database, placed[0]).status is expected
    row = operation(database, placed[0])
    assert row.error is not None
    assert (row.error.code, row.error.phase) == (Code.WORKER_LOST, "stop-container")
    assert row.finished_at is not None
    assert instance(database, ready.id).status is InstanceStatus.DELETING
    assert swept(database).begun == [], "not at once"
    query(database, "update instance set attend_at = now() - interval '1 second'")
    (again,) = swept(database).begun
    assert operation(database, again).kind == TEARDOWN.name
    endings.complete(database, TEARDOWN, ready.id, claim(database, again))


def test_sweeps_once_when_two_sweep_at_once(database: Database) -> None:
    lost = [start(database).operation_id for _ in range(6)]
    forgotten = [place(database).operation_id for _ in range(6)]
    empty_queue(database)
    for operation_id in lost:
        expire(database, operation_id)
    query(database, "update operation set enqueued_at = now() - interval '1 hour' where status = 'queued'")
    results = at_once(6, lambda _: swept(database, requeue_seconds=60))
    assert sorted(one for each in results for one in each.lost) == sorted(lost)
    assert {operation(database, operation_id).fencing_token for operation_id in lost} == {2}
    assert set(queued(database)) >= set(lost)
    assert all(set(each.woken) <= set(forgotten) for each in results)


# orders nobody took


def test_fails_an_order_that_nobody_took(database: Database) -> None:
    late, fresh = place(database), place(database)
    query(database, f"update operation set created_at = {LONG_AGO} where id = %s", late.operation_id)  # noqa: S608
    assert swept(database).overdue == [late.operation_id]
    row = operation(database, late.operation_id)
    assert row.status is OperationStatus.FAILED
    assert row.error is not None
    assert row.error.code is Code.DEADLINE_EXCEEDED
    assert instance(database, late.instance_id).status is InstanceStatus.FAILED
    assert try_claim(database, late.operation_id) is None
    assert operation(database, fresh.operation_id).status is OperationStatus.QUEUED


def test_keeps_the_machine_of_a_retry_that_nobody_took(database: Database) -> None:
    lease = start(database)
    give_back(database, lease, CLEANED, kept=True)
    retry = requests.place_retry(database, lease.operation_id, CUSTOMER)
    assert retry is not None
    query(database, f"update operation set created_at = {LONG_AGO} where id = %s", retry)  # noqa: S608
    assert swept(database).overdue == [retry]
    row = operation(database, retry)
    kept = instance(database, row.instance_id)
    assert (row.status, kept.status) == (OperationStatus.FAILED, InstanceStatus.QUARANTINED)
    assert kept.vmid == row.vmid
    assert kept.expires_at is not None
    assert requests.place_retry(database, retry, CUSTOMER) is not None


def test_leaves_a_resumed_order_and_a_teardown_in_the_queue(database: Database) -> None:
    row = lose(database)
    ready = provision(database)
    assert requests.place(database, TEARDOWN, server_id=ready.id, vmid=None, customer_id=None)
    query(database, f"update operation set created_at = {LONG_AGO}")  # noqa: S608
    assert swept(database).overdue == []
    assert operation(database, row.id).status is OperationStatus.QUEUED


# what nobody asks for


def test_cleans_up_what_was_left_behind_until_it_is_gone(database: Database) -> None:
    lease = start(database)
    before = operation(database, lease.operation_id)
    give_back(database, lease, LEAKED)
    assert swept(database).begun == [], "not at once"
    pauses = []
    for _ in range(9):
        query(database, "update instance set attend_at = now() - interval '1 second'")
        (begun,) = swept(database).begun
        row = operation(database, begun)
        assert (row.kind, row.vmid, row.hostname, row.background) == (CLEANUP.name, before.vmid, before.hostname, True)
        assert swept(database).begun == [], "one at a time"
        endings.fail(database, row.instance_id, claim(database, begun), FAILURE, attend_seconds=60)
        ((seconds,),) = query(database, "select extract(epoch from attend_at - now())::float from instance")
        pauses.append(round(seconds / 60))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert reads.list_instances(database, customer_id=None, leaked=True) != []
    query(database, "update instance set attend_at = now() - interval '1 second'")
    (begun,) = swept(database).begun
    endings.complete(database, CLEANUP, before.instance_id, claim(database, begun))
    left = instance(database, before.instance_id)
    assert (left.status, left.vmid, left.leaked, left.attend_at) == (InstanceStatus.FAILED, None, (), None)
    assert reads.list_instances(database, customer_id=None, leaked=True) == []
    cleaned = operation(database, lease.operation_id).cleanup
    assert cleaned is not None
    assert cleaned.leaked == ()


def test_looks_once_more_when_a_clone_may_come_late(database: Database) -> None:
    lease = start(database)
    before = operation(database, lease.operation_id)
    give_back(database, lease, CLEANED, certain=False)
    left = instance(database, before.instance_id)
    assert (left.vmid, left.leaked) == (before.vmid, ())
    query(database, "update instance set attend_at = now() - interval '1 second'")
    (begun,) = swept(database).begun
    assert operation(database, begun).kind == CLEANUP.name


def test_deletes_a_kept_machine_when_its_time_is_over(database: Database) -> None:
    lease = start(database)
    give_back(database, lease, CLEANED, kept=True)
    row = operation(database, lease.operation_id)
    kept = instance(database, row.instance_id)
    assert kept.status is InstanceStatus.QUARANTINED
    assert kept.vmid == row.vmid
    assert kept.expires_at is not None
    assert swept(database).begun == []
    query(database, "update instance set expires_at = now() - interval '1 second'")
    (begun,) = swept(database).begun
    assert operation(database, begun).kind == TEARDOWN.name
    assert instance(database, row.instance_id).status is InstanceStatus.DELETING


@pytest.mark.parametrize("state", ["suspended", "retained", "pending_deletion"])
def test_stops_what_runs_for_a_stopped_account_and_keeps_it_stopped(database: Database, state: str) -> None:
    ready = provision(database)
    assert swept(database).begun == []
    accounts.update_customer(database, CUSTOMER, billing_state=state)
    (begun,) = swept(database).begun
    assert operation(database, begun).kind == STOP.name
    assert swept(database).begun == [], "one at a time"
    endings.fail(database, ready.id, claim(database, begun), FAILURE, attend_seconds=60)
    assert swept(database).begun == [], "not again at once"
    query(database, "update instance set attend_at = now() - interval '1 second'")
    (again,) = swept(database).begun
    endings.complete(database, STOP, ready.id, claim(database, again))
    assert instance(database, ready.id).status is InstanceStatus.STOPPED
    assert swept(database).begun == []


def test_begins_nothing_that_somebody_begins_meanwhile(database: Database, database_url: str) -> None:
    made = {provision(database).id, provision(database).id}
    accounts.update_customer(database, CUSTOMER, billing_state="suspended")
    # Nested loops: the sweep comes to one instance with its old snapshot when it has changed the other.
    sweeper = Database(
        make_conninfo(database_url, options="-c enable_hashjoin=off -c enable_mergejoin=off -c test.waits=on")
    )
    sweeper.open()
    wait = (
        "begin if current_setting('test.waits', true) = 'on' then perform pg_advisory_xact_lock(1); end if; "
        "return new; end"
    )
    query(database, f"create function wait() returns trigger language plpgsql as $$ {wait} $$")
    with database.connect() as gate, ThreadPoolExecutor(1) as thread:
        gate.execute("select pg_advisory_lock(1)")
        query(database, "create trigger wait before update on instance for each row execute function wait()")
        sweeping = thread.submit(swept, sweeper)
        while query(database, "select count(*) from pg_locks where locktype = 'advisory' and not granted") == [(0,)]:
            assert not sweeping.done()
        ((second,),) = query(database, "select id from instance for update skip locked")
        stop = requests.place(database, STOP, server_id=second, vmid=None, customer_id=None)
        gate.execute("select pg_advisory_unlock(1)")
        (begun,) = sweeping.result().begun
    assert {operation(database, begun).instance_id, second} == made
    assert stop is not None
    assert instance(database, second).active_operation == stop[0]
    sweeper.close()


def test_counts_live_workers(database: Database) -> None:
    assert sweep.live_workers(database, within_seconds=60) == 0
    for worker in ("a", "b", "b"):
        sweep.worker_seen(database, worker)
    assert sweep.live_workers(database, within_seconds=60) == 2
    sweep.worker_gone(database, "a")
    query(database, "update worker set seen_at = now() - interval '2 minutes'")
    assert sweep.live_workers(database, within_seconds=60) == 0
