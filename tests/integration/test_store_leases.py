"""Claims, leases and fencing, and what is written under a lease, on a real PostgreSQL."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from psycopg.conninfo import make_conninfo

from orchestrator.domain.errors import LostLease, StoreUnavailable
from orchestrator.domain.models import Lease
from orchestrator.domain.operations import PROVISION
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import OperationStatus, PhaseStatus
from orchestrator.domain.updates import Logged, PhaseEntered, Retried
from orchestrator.store import endings, leases, reads
from orchestrator.store.connection import OPERATION_CHANNEL, Database, wrap_errors
from tests.support.storage import (
    FAILURE,
    RANGE,
    allocate_vmid,
    at_once,
    claim,
    claimant,
    everything,
    expire,
    give_back,
    instance,
    lease_verbs,
    operation,
    phases,
    place,
    query,
    start,
    swept,
    try_claim,
)

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
    endings.complete(database, PROVISION, operation(database, lease.operation_id).instance_id, lease, address=None)
    assert try_claim(database, lease.operation_id) is None


def test_claims_a_cleaning_operation_only_when_its_lease_ran_out(database: Database) -> None:
    lease = start(database)
    endings.begin_cleaning(database, lease, FAILURE)
    assert try_claim(database, lease.operation_id) is None
    expire(database, lease.operation_id)
    row = try_claim(database, lease.operation_id)
    assert row is not None
    assert (row.status, row.attempt, row.fencing_token) == (OperationStatus.CLEANING, 2, lease.fencing_token + 1)
    assert row.error == FAILURE


def test_keeps_start_and_deadline_at_the_second_claim(database: Database) -> None:
    lease = start(database)
    before = operation(database, lease.operation_id)
    endings.begin_cleaning(database, lease, FAILURE)
    expire(database, lease.operation_id)
    after = try_claim(database, lease.operation_id)
    assert after is not None
    assert (after.started_at, after.deadline_at) == (before.started_at, before.deadline_at)


def test_prolongs_the_lease_with_a_heartbeat(database: Database) -> None:
    lease = start(database)
    before = operation(database, lease.operation_id).heartbeat_at
    leases.heartbeat(database, lease, lease_seconds=60)
    after = operation(database, lease.operation_id).heartbeat_at
    assert before is not None
    assert after is not None
    assert after > before
    ((left,),) = query(database, "select extract(epoch from lease_expires_at - now())::float from operation")
    assert 55 < left <= 60


def test_prolongs_no_lease_that_has_run_out(database: Database) -> None:
    lease = start(database)
    expire(database, lease.operation_id)
    before = everything(database)
    with pytest.raises(LostLease):
        leases.heartbeat(database, lease, lease_seconds=60)
    assert everything(database) == before
    assert swept(database).lost == [lease.operation_id]


def test_lists_every_verb_that_takes_a_lease() -> None:
    taking = {
        name for name, verb in (vars(leases) | vars(endings)).items()
        if callable(verb) and not name.startswith("_") and "lease" in getattr(verb, "__annotations__", {})
    }  # fmt: skip
    parts_of_verbs = {"execute_held", "fetch_held"}
    assert taking - parts_of_verbs == {name.split()[0] for name in lease_verbs(uuid4())}


@pytest.mark.parametrize("how", ["an old token", "a token of the future", "a final operation"])
def test_writes_nothing_without_the_lease(database: Database, how: str) -> None:
    lease = start(database)
    row = operation(database, lease.operation_id)
    if how == "a final operation":
        endings.complete(database, PROVISION, row.instance_id, lease, address=None)
    else:
        step = 1 if how == "a token of the future" else -1
        lease = Lease(operation_id=lease.operation_id, fencing_token=lease.fencing_token + step)
    before = everything(database)
    for name, verb in lease_verbs(row.instance_id).items():
        with pytest.raises(LostLease, match=str(lease.operation_id)):
            verb(database, lease)
        assert everything(database) == before, name


def test_fences_the_worker_out_that_a_sweep_declared_lost(database: Database) -> None:
    lease = start(database)
    expire(database, lease.operation_id)
    swept(database, requeue_seconds=3600)
    row = operation(database, lease.operation_id)
    for verb in lease_verbs(row.instance_id).values():
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


def test_notifies_whoever_listens_but_not_of_orders_and_heartbeats(database: Database) -> None:
    beating, writing = start(database), start(database)
    with database.listen(OPERATION_CHANNEL) as changes:
        assert changes(0) == []
        place(database)
        leases.heartbeat(database, beating, lease_seconds=30)
        leases.record(database, writing, [Logged(None, "info", "x")])
        assert changes(5) == [str(writing.operation_id)]


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
    return lease, allocate_vmid(database, lease, bounds)


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
        lambda thread: [allocate_vmid(database, lease, (5000, 5018)) for lease in held[thread::8]],
    )
    vmids = [vmid for some in given for vmid in some]
    assert vmids.count(None) == 1
    assert sorted(vmid for vmid in vmids if vmid) == list(range(5000, 5019))


def test_never_chooses_a_vmid_again_that_is_somebody_elses(database: Database) -> None:
    lease, vmid = allocate(database)
    assert vmid == 5000
    assert operation(database, lease.operation_id).hostname == "mc-5000"
    leases.give_up_vmid(database, lease, 5000)
    row = operation(database, lease.operation_id)
    assert (row.vmid, row.hostname, row.status) == (None, None, OperationStatus.RUNNING)
    assert (instance(database, row.instance_id).vmid, instance(database, row.instance_id).hostname) == (None, None)
    assert allocate_vmid(database, lease, RANGE) == 5001
    assert [allocate(database)[1] for _ in range(4)] == [5002, 5003, 5004, None]


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


def test_takes_its_rows_from_a_worker_that_stands_still_in_a_transaction(database: Database) -> None:
    lease = start(database)
    expire(database, lease.operation_id)
    connection = database.connect()
    connection.execute("begin")
    connection.execute("select from operation for update")
    connection.execute("select pg_advisory_xact_lock(hashtext('hostwright claim'))")
    assert swept(database).lost == [], "the sweep passes over what is locked"
    deadline = time.monotonic() + 20
    while not swept(database).lost:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert leases.claim_next(database, claimant()) is not None
    with pytest.raises(StoreUnavailable), wrap_errors():
        connection.execute("select 1")
    connection.close()
