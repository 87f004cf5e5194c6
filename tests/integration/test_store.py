"""The store's verbs on a real PostgreSQL: leases and fencing, VMIDs, ends of operations, sweeps, quotas."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from psycopg.conninfo import make_conninfo

from orchestrator.errors import Code, IllegalTransition, LostLease, Problem, ProblemCode, StoreUnavailable
from orchestrator.models import Cleanup, CleanupStep, Failure, InstanceRow, Lease, OperationRow
from orchestrator.orders import Demand, request_hash
from orchestrator.phases import Kind, Phase
from orchestrator.queue import QUEUE, JsonSerializer
from orchestrator.states import InstanceStatus, OperationStatus, PhaseStatus
from orchestrator.store import accounts, leases, orders, reads, sweep
from orchestrator.store.connection import OPERATION_CHANNEL, Database
from orchestrator.store.leases import Logged, PhaseEntered, Retried
from tests.fix_database import CUSTOMER

T = TypeVar("T")

SPEC = {"ctype": "game", "variant": "vanilla"}
RANGE = (5000, 5004)
FAILURE = Failure(code=Code.AGENT_ERROR, phase="wait-for-agent-terminal-state", task="T", message="it exited with 1")
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


def try_claim(database: Database, operation_id: UUID, *, lease_seconds: float = 30) -> OperationRow | None:
    return leases.claim(database, operation_id, worker="w", lease_seconds=lease_seconds, deadline_seconds=900)


def claim(database: Database, operation_id: UUID, *, lease_seconds: float = 30) -> Lease:
    row = try_claim(database, operation_id, lease_seconds=lease_seconds)
    assert row is not None
    return Lease(operation_id=row.id, fencing_token=row.fencing_token)


def start(database: Database) -> Lease:
    """A running operation with a VMID, a host name and a first phase."""
    lease = claim(database, place(database).operation_id)
    leases.record(database, lease, [PhaseEntered(Phase.ALLOCATE_VMID, "choosing")])
    assert leases.allocate_vmid(database, lease, ctype="game", bounds=(5000, 5999)) is not None
    leases.set_hostname(database, lease, f"mc-{lease.operation_id.hex[:8]}")
    return lease


def provision(database: Database) -> InstanceRow:
    """An instance that is ready."""
    lease = start(database)
    instance_id = operation(database, lease.operation_id).instance_id
    leases.complete_provision(database, instance_id, lease, hostname="mc", address="192.0.2.7")
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


# claims and leases


def test_claims_for_one_of_many_workers(database: Database) -> None:
    for _ in range(5):
        operation_id = place(database).operation_id
        won = [row for row in at_once(8, lambda _, wanted=operation_id: try_claim(database, wanted)) if row]  # type: ignore[misc]
        assert len(won) == 1
        assert (won[0].status, won[0].attempt, won[0].fencing_token) == (OperationStatus.RUNNING, 1, 1)
        assert won[0].deadline_at is not None


def test_claims_nothing_that_is_unknown_running_or_final(database: Database) -> None:
    lease = start(database)
    assert try_claim(database, uuid4()) is None
    assert try_claim(database, lease.operation_id) is None
    expire(database, lease.operation_id)
    assert try_claim(database, lease.operation_id) is None, "only a sweep takes a running operation away"
    leases.complete_provision(
        database, operation(database, lease.operation_id).instance_id, lease, hostname="x", address=None
    )
    assert try_claim(database, lease.operation_id) is None


def test_claims_a_cleaning_operation_only_when_its_lease_ran_out(database: Database) -> None:
    lease = start(database)
    leases.begin_cleaning(database, lease, FAILURE)
    assert try_claim(database, lease.operation_id) is None
    expire(database, lease.operation_id)
    row = try_claim(database, lease.operation_id)
    assert row is not None
    assert (row.status, row.attempt, row.fencing_token) == (OperationStatus.CLEANING, 2, lease.fencing_token + 1)
    assert row.error == FAILURE


def test_keeps_start_and_deadline_at_the_second_claim(database: Database) -> None:
    lease = start(database)
    before = operation(database, lease.operation_id)
    leases.begin_cleaning(database, lease, FAILURE)
    expire(database, lease.operation_id)
    after = try_claim(database, lease.operation_id)
    assert after is not None
    assert (after.started_at, after.deadline_at) == (before.started_at, before.deadline_at)


def test_prolongs_the_lease_with_a_heartbeat(database: Database) -> None:
    lease = start(database)
    expire(database, lease.operation_id)
    before = operation(database, lease.operation_id).heartbeat_at
    leases.heartbeat(database, lease, lease_seconds=60)
    after = operation(database, lease.operation_id).heartbeat_at
    assert before is not None
    assert after is not None
    assert after > before
    ((left,),) = query(database, "select extract(epoch from lease_expires_at - now())::float from operation")
    assert 55 < left <= 60
    assert sweep.sweep(database, requeue_seconds=0) == []


def test_ends_the_lease_at_once_when_it_is_released(database: Database) -> None:
    lease = start(database)
    leases.release(database, lease)
    assert sweep.sweep(database, requeue_seconds=3600) == [lease.operation_id]


def verbs(instance_id: UUID) -> dict[str, Callable[[Database, Lease], object]]:
    """Every verb that writes under a lease."""
    return {
        "heartbeat": lambda d, lease: leases.heartbeat(d, lease, lease_seconds=60),
        "release": leases.release,
        "record a phase": lambda d, lease: leases.record(d, lease, [PhaseEntered(Phase.CLONE_CONTAINER, "x")]),
        "record a line": lambda d, lease: leases.record(d, lease, [Logged(None, "info", "x")]),
        "record a retry": lambda d, lease: leases.record(d, lease, [Retried(Phase.ALLOCATE_VMID, 9)]),
        "allocate_vmid": lambda d, lease: leases.allocate_vmid(d, lease, ctype="game", bounds=(5000, 5999)),
        "set_hostname": lambda d, lease: leases.set_hostname(d, lease, "stolen"),
        "give_up_vmid": lambda d, lease: leases.give_up_vmid(d, lease, 5000),
        "complete_provision": lambda d, lease: leases.complete_provision(
            d, instance_id, lease, hostname="x", address=None
        ),
        "complete_teardown": lambda d, lease: leases.complete_teardown(d, instance_id, lease),
        "begin_cleaning": lambda d, lease: leases.begin_cleaning(d, lease, FAILURE),
        "finish_cleaned": lambda d, lease: leases.finish_cleaned(d, instance_id, lease, CLEANED, kept=False),
        "fail_teardown": lambda d, lease: leases.fail_teardown(d, lease, FAILURE),
    }


def test_lists_every_verb_that_takes_a_lease() -> None:
    taking = {
        name for name, verb in vars(leases).items()
        if callable(verb) and not name.startswith("_") and "lease" in getattr(verb, "__annotations__", {})
    }  # fmt: skip
    assert taking == {name.split()[0] for name in verbs(uuid4())}


@pytest.mark.parametrize("how", ["an old token", "a token of the future", "a final operation"])
def test_writes_nothing_without_the_lease(database: Database, how: str) -> None:
    lease = start(database)
    row = operation(database, lease.operation_id)
    if how == "a final operation":
        leases.complete_provision(database, row.instance_id, lease, hostname="x", address=None)
    else:
        step = 1 if how == "a token of the future" else -1
        lease = Lease(operation_id=lease.operation_id, fencing_token=lease.fencing_token + step)
    before = everything(database)
    for name, verb in verbs(row.instance_id).items():
        with pytest.raises(LostLease, match=str(lease.operation_id)):
            verb(database, lease)
        assert everything(database) == before, name


def test_fences_the_worker_out_that_a_sweep_declared_lost(database: Database) -> None:
    lease = start(database)
    expire(database, lease.operation_id)
    sweep.sweep(database, requeue_seconds=3600)
    row = operation(database, lease.operation_id)
    for verb in verbs(row.instance_id).values():
        with pytest.raises(LostLease):
            verb(database, lease)
    assert operation(database, lease.operation_id) == row


def test_records_all_or_nothing(database: Database) -> None:
    lease = start(database)
    before = everything(database)
    with pytest.raises(StoreUnavailable, match="ends here"), _failing_after_events(database, 2):
        leases.record(database, lease, [Logged(None, "info", str(number)) for number in range(3)])
    assert everything(database) == before


@contextmanager
def _failing_after_events(database: Database, count: int) -> Iterator[None]:
    """The database refuses an operation's events after so many more, as if the connection broke there."""
    ((now,),) = query(database, "select count(*) from operation_event")
    limit = "if (select count(*) from operation_event) >= tg_argv[0]::int then"
    refuse = f"begin {limit} raise 'it ends here' using errcode = '08006'; end if; return new; end"
    query(database, f"create function refuse() returns trigger language plpgsql as $$ {refuse} $$")
    query(
        database,
        f"create trigger refuse before insert on operation_event for each row execute function refuse({now + count})",
    )
    yield
    query(database, "drop function refuse cascade")


# the log


def test_numbers_events_without_gaps_under_concurrent_writers(database: Database) -> None:
    lease = start(database)
    first = operation(database, lease.operation_id).last_seq

    def write(thread: int) -> None:
        for number in range(5):
            leases.record(database, lease, [Logged(None, "info", f"{thread}.{number}.{part}") for part in range(3)])

    at_once(6, write)
    events = reads.list_events(database, lease.operation_id)
    assert [event.seq for event in events] == list(range(1, first + 6 * 5 * 3 + 1))
    texts = [event.message for event in events[first:]]
    assert sorted(texts) == sorted(f"{a}.{b}.{c}" for a in range(6) for b in range(5) for c in range(3))
    for at in range(0, len(texts), 3):
        assert [text.rpartition(".")[2] for text in texts[at : at + 3]] == ["0", "1", "2"], "one record stays together"


def test_notifies_whoever_listens(database: Database) -> None:
    lease = start(database)
    with database.listen(OPERATION_CHANNEL) as changes:
        assert changes(0) == []
        leases.record(database, lease, [Logged(None, "info", "x")])
        assert changes(5) == [str(lease.operation_id)]


def test_ends_a_phase_when_the_next_begins(database: Database) -> None:
    lease = start(database)
    assert phases(database, lease.operation_id) == {"allocate-vmid": "ok"}
    leases.record(database, lease, [PhaseEntered(Phase.CLONE_CONTAINER, "x"), Retried(Phase.CLONE_CONTAINER, 4)])
    assert phases(database, lease.operation_id) == {"allocate-vmid": "ok", "clone-container": "running"}
    leases.record(database, lease, [PhaseEntered(Phase.CONFIGURE_CONTAINER, "x")])
    rows = {row.name: row for row in operation(database, lease.operation_id).phases or ()}
    clone = rows[Phase.CLONE_CONTAINER]
    assert (clone.status, clone.retries) == (PhaseStatus.OK, 4)
    assert clone.finished_at is not None
    assert clone.started_at <= clone.finished_at
    assert operation(database, lease.operation_id).phase == Phase.CONFIGURE_CONTAINER


def test_begins_a_phase_anew_when_it_is_entered_again(database: Database) -> None:
    lease = start(database)
    for phase in (Phase.CLONE_CONTAINER, Phase.CONFIGURE_CONTAINER, Phase.CLONE_CONTAINER):
        leases.record(database, lease, [PhaseEntered(phase, "x"), Retried(phase, 2)])
    leases.record(database, lease, [PhaseEntered(Phase.CLONE_CONTAINER, "again")])
    rows = {row.name: row for row in operation(database, lease.operation_id).phases or ()}
    assert (rows[Phase.CLONE_CONTAINER].status, rows[Phase.CLONE_CONTAINER].retries) == (PhaseStatus.RUNNING, 0)
    assert rows[Phase.CLONE_CONTAINER].finished_at is None
    assert rows[Phase.CONFIGURE_CONTAINER].status is PhaseStatus.OK


# VMIDs


def allocate(database: Database, bounds: tuple[int, int] = RANGE) -> tuple[Lease, int | None]:
    lease = claim(database, place(database).operation_id)
    return lease, leases.allocate_vmid(database, lease, ctype="game", bounds=bounds)


def give_back(database: Database, lease: Lease) -> None:
    """The operation fails cleanly, so that its VMID is free."""
    leases.begin_cleaning(database, lease, FAILURE)
    leases.finish_cleaned(database, operation(database, lease.operation_id).instance_id, lease, CLEANED)


def test_allocates_round_robin_and_reuses_nothing_at_once(database: Database) -> None:
    for expected in (5000, 5001, 5002, 5003, 5004, 5000, 5001):
        lease, vmid = allocate(database)
        assert vmid == expected
        row = operation(database, lease.operation_id)
        assert row.vmid == instance(database, row.instance_id).vmid == expected
        give_back(database, lease)


def test_passes_over_vmids_in_use(database: Database) -> None:
    held = [allocate(database) for _ in range(5)]
    give_back(database, held[3][0])
    assert allocate(database)[1] == 5003


def test_allocates_nothing_when_the_range_is_used_up(database: Database) -> None:
    assert [allocate(database)[1] for _ in range(6)] == [5000, 5001, 5002, 5003, 5004, None]


def test_allocates_within_a_range_that_was_moved(database: Database) -> None:
    assert allocate(database, (5000, 5004))[1] == 5000
    assert allocate(database, (7000, 7001))[1] == 7000
    assert allocate(database, (100, 101))[1] == 100


def test_allocates_distinct_vmids_in_parallel(database: Database) -> None:
    held = [claim(database, place(database).operation_id) for _ in range(20)]
    given = at_once(
        8,
        lambda thread: [
            leases.allocate_vmid(database, lease, ctype="game", bounds=(5000, 5018)) for lease in held[thread::8]
        ],
    )
    vmids = [vmid for some in given for vmid in some]
    assert vmids.count(None) == 1
    assert sorted(vmid for vmid in vmids if vmid) == list(range(5000, 5019))


def test_never_chooses_a_vmid_again_that_is_somebody_elses(database: Database) -> None:
    lease, vmid = allocate(database)
    assert vmid == 5000
    leases.set_hostname(database, lease, "mc-5000")
    leases.give_up_vmid(database, lease, 5000)
    row = operation(database, lease.operation_id)
    assert (row.vmid, row.hostname, row.status) == (None, None, OperationStatus.RUNNING)
    assert (instance(database, row.instance_id).vmid, instance(database, row.instance_id).hostname) == (None, None)
    assert leases.allocate_vmid(database, lease, ctype="game", bounds=RANGE) == 5001
    assert [allocate(database)[1] for _ in range(4)] == [5002, 5003, 5004, None]


# how operations end


def test_completes_a_provision(database: Database) -> None:
    lease = start(database)
    row = operation(database, lease.operation_id)
    leases.complete_provision(database, row.instance_id, lease, hostname="mc-1", address="192.0.2.7")
    after = operation(database, lease.operation_id)
    assert (after.status, after.phase, after.error) == (OperationStatus.SUCCEEDED, Phase.COMPLETE, None)
    assert after.finished_at is not None
    assert phases(database, lease.operation_id) == {"allocate-vmid": "ok", "complete": "ok"}
    assert messages(database, lease.operation_id)[-1] == "mc-1 is ready"
    ready = instance(database, row.instance_id)
    assert (ready.status, str(ready.address), ready.active_operation) == (InstanceStatus.READY, "192.0.2.7", None)
    assert ready.ready_at is not None


def test_completes_a_teardown_and_frees_the_vmid(database: Database) -> None:
    ready = provision(database)
    placed = orders.place_teardown(database, server_id=ready.id, vmid=None, customer_id=CUSTOMER)
    assert placed is not None
    assert instance(database, ready.id).status is InstanceStatus.DELETING
    lease = claim(database, placed[0])
    leases.complete_teardown(database, ready.id, lease)
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
    first = orders.place_teardown(database, server_id=ready.id, vmid=None, customer_id=None)
    assert first is not None
    lease = claim(database, first[0])
    leases.record(database, lease, [PhaseEntered(Phase.STOP_CONTAINER, "x")])
    leases.fail_teardown(database, lease, FAILURE)
    after = operation(database, first[0])
    assert (after.status, after.error) == (OperationStatus.FAILED, FAILURE)
    assert phases(database, first[0]) == {"stop-container": "failed"}
    assert instance(database, ready.id).status is InstanceStatus.DELETING
    second = orders.place_teardown(database, server_id=ready.id, vmid=None, customer_id=None)
    assert second is not None
    assert second[0] != first[0]
    leases.complete_teardown(database, ready.id, claim(database, second[0]))


def test_keeps_the_reason_while_it_cleans_up(database: Database) -> None:
    lease = start(database)
    leases.record(database, lease, [PhaseEntered(Phase.CLONE_CONTAINER, "x")])
    leases.begin_cleaning(database, lease, FAILURE)
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
    leases.begin_cleaning(database, lease, FAILURE)
    leases.finish_cleaned(database, before.instance_id, lease, cleanup)
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
        leases.complete_provision(database, row.instance_id, lease, hostname="x", address=None)
    assert operation(database, lease.operation_id) == row, "nothing of the refused verb is left"


# sweeps


def test_wakes_a_queued_operation_whose_message_was_lost(database: Database) -> None:
    placed = place(database)
    assert queued(database) == [placed.operation_id]
    empty_queue(database)
    assert sweep.sweep(database, requeue_seconds=3600) == []
    time.sleep(0.01)
    assert sweep.sweep(database, requeue_seconds=0.005) == [placed.operation_id]
    assert queued(database) == [placed.operation_id]
    assert sweep.sweep(database, requeue_seconds=3600) == []
    assert operation(database, placed.operation_id).status is OperationStatus.QUEUED


def test_leaves_a_running_operation_alone_while_its_lease_holds(database: Database) -> None:
    lease = start(database)
    row = operation(database, lease.operation_id)
    empty_queue(database)
    assert sweep.sweep(database, requeue_seconds=0.000001) == []
    assert operation(database, lease.operation_id) == row


def test_takes_a_provision_away_from_a_lost_worker(database: Database) -> None:
    lease = start(database)
    leases.record(database, lease, [PhaseEntered(Phase.CLONE_CONTAINER, "x")])
    empty_queue(database)
    expire(database, lease.operation_id)
    assert sweep.sweep(database, requeue_seconds=3600) == [lease.operation_id]
    row = operation(database, lease.operation_id)
    assert row.status is OperationStatus.CLEANING
    assert row.error is not None
    assert (row.error.code, row.error.phase) == (Code.WORKER_LOST, "clone-container")
    assert row.fencing_token > lease.fencing_token
    assert phases(database, lease.operation_id)["clone-container"] == "failed"
    assert messages(database, lease.operation_id)[-1] == sweep.LOST.message
    assert queued(database) == [lease.operation_id]
    again = claim(database, lease.operation_id)
    leases.finish_cleaned(database, row.instance_id, again, CLEANED)
    assert operation(database, lease.operation_id).error == row.error
    assert sweep.sweep(database, requeue_seconds=0.000001) == []


def test_takes_a_cleaning_up_away_from_a_lost_worker(database: Database) -> None:
    lease = start(database)
    leases.begin_cleaning(database, lease, FAILURE)
    empty_queue(database)
    expire(database, lease.operation_id)
    assert sweep.sweep(database, requeue_seconds=0.000001) == [lease.operation_id]
    assert queued(database) == [lease.operation_id]
    row = try_claim(database, lease.operation_id)
    assert row is not None
    assert row.error == FAILURE, "the first reason stays"


def test_fails_a_teardown_of_a_lost_worker(database: Database) -> None:
    ready = provision(database)
    placed = orders.place_teardown(database, server_id=ready.id, vmid=None, customer_id=None)
    assert placed is not None
    lease = claim(database, placed[0])
    leases.record(database, lease, [PhaseEntered(Phase.STOP_CONTAINER, "x")])
    empty_queue(database)
    expire(database, placed[0])
    assert sweep.sweep(database, requeue_seconds=3600) == [placed[0]]
    row = operation(database, placed[0])
    assert row.status is OperationStatus.FAILED
    assert row.error is not None
    assert (row.error.code, row.error.phase) == (Code.WORKER_LOST, "stop-container")
    assert row.fencing_token > lease.fencing_token
    assert row.finished_at is not None
    assert phases(database, placed[0]) == {"stop-container": "failed"}
    assert queued(database) == []
    assert instance(database, ready.id).status is InstanceStatus.DELETING


def test_sweeps_once_when_two_sweep_at_once(database: Database) -> None:
    lost = [start(database).operation_id for _ in range(6)]
    forgotten = [place(database).operation_id for _ in range(6)]
    empty_queue(database)
    for operation_id in lost:
        expire(database, operation_id)
    query(database, "update operation set enqueued_at = now() - interval '1 hour' where status = 'queued'")
    swept = at_once(6, lambda _: sweep.sweep(database, requeue_seconds=60))
    assert sorted(one for some in swept for one in some) == sorted([*lost, *forgotten])
    assert sorted(queued(database)) == sorted([*lost, *forgotten])
    assert {operation(database, operation_id).fencing_token for operation_id in lost} == {2}


def test_counts_live_workers(database: Database) -> None:
    assert sweep.live_workers(database, within_seconds=60) == 0
    for worker in ("a", "b", "b"):
        sweep.worker_seen(database, worker)
    assert sweep.live_workers(database, within_seconds=60) == 2
    sweep.worker_gone(database, "a")
    query(database, "update worker set seen_at = now() - interval '2 minutes'")
    assert sweep.live_workers(database, within_seconds=60) == 0


# orders and teardowns


def test_writes_an_order_with_its_message_or_nothing(database: Database) -> None:
    placed = place(database)
    row = operation(database, placed.operation_id)
    assert (row.status, row.kind, row.fencing_token) == (OperationStatus.QUEUED, Kind.PROVISION, 0)
    assert row.instance_id == placed.instance_id
    assert instance(database, placed.instance_id).active_operation == placed.operation_id
    assert queued(database) == [placed.operation_id]
    before = everything(database)
    query(database, "alter table huey_task add constraint full_up check (false) not valid")
    with pytest.raises(Exception, match="full_up"):
        place(database)
    assert everything(database) == before


def test_keeps_the_quota_under_concurrent_orders_of_one_customer(database: Database) -> None:
    accounts.update_customer(database, CUSTOMER, max_instances=50, max_memory_mib=7 * 1024, max_cpu_cores=500)

    def attempt(_: int) -> str:
        try:
            return orders.place_order(database, order(memory_mib=1024)).kind
        except Problem as problem:
            return str(problem.code)

    outcomes = [outcome for some in at_once(8, lambda _: [attempt(number) for number in range(3)]) for outcome in some]
    assert outcomes.count("accept") == 7
    assert outcomes.count(ProblemCode.QUOTA_EXCEEDED) == 24 - 7
    assert len(reads.list_instances(database, customer_id=CUSTOMER)) == 7


def test_makes_one_operation_of_concurrent_orders_with_one_key(database: Database) -> None:
    placed = at_once(8, lambda _: orders.place_order(database, order("the-key")))
    assert len({(one.operation_id, one.instance_id, one.request_id) for one in placed}) == 1
    assert sorted(one.kind for one in placed) == ["accept", *["replay"] * 7]
    assert queued(database) == [placed[0].operation_id]


def test_gives_a_failed_instance_back_to_the_quota(database: Database) -> None:
    accounts.update_customer(database, CUSTOMER, max_instances=1)
    lease = start(database)
    with pytest.raises(Problem, match="instances"):
        place(database)
    give_back(database, lease)
    place(database)


def test_refuses_an_order_of_an_unknown_customer(database: Database) -> None:
    with pytest.raises(Problem, match="no customer nobody"):
        orders.place_order(database, order(customer="nobody"))


def test_places_one_teardown_however_often_it_is_asked(database: Database) -> None:
    ready = provision(database)
    empty_queue(database)
    placed = at_once(6, lambda _: orders.place_teardown(database, server_id=ready.id, vmid=None, customer_id=CUSTOMER))
    assert len(set(placed)) == 1
    assert placed[0] is not None
    assert queued(database) == [placed[0][0]]
    row = operation(database, placed[0][0])
    assert (row.kind, row.vmid, row.hostname, row.customer_id) == (
        Kind.TEARDOWN, ready.vmid, ready.hostname, CUSTOMER,
    )  # fmt: skip


def test_finds_the_instance_to_tear_down_by_its_vmid(database: Database) -> None:
    ready = provision(database)
    placed = orders.place_teardown(database, server_id=None, vmid=ready.vmid, customer_id=CUSTOMER)
    assert placed is not None
    assert placed[1] == ready.id


def test_tears_down_nothing_that_is_unknown_or_somebody_elses(database: Database) -> None:
    ready = provision(database)
    before = everything(database)
    assert orders.place_teardown(database, server_id=uuid4(), vmid=None, customer_id=None) is None
    assert orders.place_teardown(database, server_id=None, vmid=1, customer_id=None) is None
    assert orders.place_teardown(database, server_id=ready.id, vmid=None, customer_id="somebody-else") is None
    assert everything(database) == before


def test_refuses_a_teardown_while_the_instance_is_being_made(database: Database) -> None:
    placed = place(database)
    with pytest.raises(Problem) as refused:
        orders.place_teardown(database, server_id=placed.instance_id, vmid=None, customer_id=CUSTOMER)
    assert refused.value.code is ProblemCode.INSTANCE_BUSY
    assert refused.value.extra == {"operationId": str(placed.operation_id)}


def test_tears_down_a_failed_instance(database: Database) -> None:
    lease = start(database)
    instance_id = operation(database, lease.operation_id).instance_id
    give_back(database, lease)
    placed = orders.place_teardown(database, server_id=instance_id, vmid=None, customer_id=CUSTOMER)
    assert placed is not None
    leases.complete_teardown(database, instance_id, claim(database, placed[0]))
    assert reads.deleted_at(database, instance_id, CUSTOMER) is not None


# the database goes away


def test_raises_store_unavailable_when_the_database_is_gone(server_url: str) -> None:
    database = Database(make_conninfo(server_url, dbname="no_such_database"), timeout=0.2)
    database.open()
    with pytest.raises(StoreUnavailable):
        reads.list_instances(database, customer_id=None)
    with pytest.raises(StoreUnavailable):
        database.connect()
    database.close()


def test_raises_store_unavailable_when_a_listener_loses_its_connection(database: Database) -> None:
    ending = (
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where query ilike 'listen%%' and datname = current_database()"
    )
    with pytest.raises(StoreUnavailable), database.listen(OPERATION_CHANNEL) as changes:
        _ = query(database, ending), changes(5)
