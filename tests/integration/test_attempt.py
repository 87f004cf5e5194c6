"""An attempt's bookkeeping without a playbook: what it writes, when it stops itself, and when it must not write."""

import errno
import json
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from orchestrator.domain import updates
from orchestrator.domain.admission import Demand, request_hash
from orchestrator.domain.errors import LostLease, WorkerUnfit
from orchestrator.domain.models import Claim
from orchestrator.domain.operations import KINDS, PROVISION, OperationKind
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.domain.states import PhaseStatus
from orchestrator.domain.updates import Logged, PublicationsRecorded
from orchestrator.play.run_directory import RecordedFile
from orchestrator.play.variables import Server
from orchestrator.settings import Settings
from orchestrator.store import leases, orders, reads, requests
from orchestrator.store.connection import Database
from orchestrator.worker.attempt import PLAYBOOKS, Attempt, Plan
from orchestrator.worker.watch import Watch
from tests.support.fix_database import CUSTOMER
from tests.support.fix_lab import Lab
from tests.support.storage import claim_one, claimant

EVENTS = Path(__file__).parents[1] / "fixtures" / "events"
STARTED = {"event": "playbook_on_play_start", "event_data": {"play": "clone-container"}}


def claim(database: Database, deadline_seconds: float = 900) -> Claim:
    spec = {"ctype": "game"}
    demand = Demand(str(uuid4()), request_hash(spec), "game", 1, 1)
    placed = orders.place_order(database, orders.Order(CUSTOMER, demand, spec))
    claimed = claim_one(database, placed.operation_id, claimant(deadline_seconds=deadline_seconds))
    assert claimed is not None
    return claimed


def attempt(database: Database, *, age: float = 0, leaving: bool = False, **settings: Any) -> Attempt:
    """An attempt at a fresh operation that was claimed `age` seconds ago."""
    gone = threading.Event()
    if leaving:
        gone.set()
    given = Settings(**settings)
    claimed = claim(database, given.operation_deadline_seconds or 900)
    return Attempt(database, given, claimed, time.monotonic() - age, gone)


def watch(made: Attempt, *, undoing: bool = False) -> Watch:
    """Who listens to a run of the attempt."""
    return made.watch(Server(made.operation, 5000, "mc"), RecordedFile(Path("/nowhere")), undoing=undoing)


def steal(database: Database, made: Attempt) -> None:
    """Somebody else has the operation from here on."""
    with database.transaction() as connection:
        connection.execute("update operation set fencing_token = fencing_token + 1 where id = %s", (made.operation.id,))


def becomes(condition: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


# what is played


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_plays_the_playbook_that_its_kind_names(kind: OperationKind) -> None:
    plan = Plan.of_kind(kind)
    assert [(PLAYBOOKS / f"{book}.yml").is_file() for book in plan.books] == [True]
    assert plan.phases == kind.played


def test_plays_the_phases_own_playbooks_for_a_part() -> None:
    assert Plan.of_phases(PROVISION.undo[1:]).books == ("phases/stop_container", "phases/delete_container")


# what is written


def test_writes_a_recorded_run_in_order(database: Database) -> None:
    lines = (EVENTS / "success_game.jsonl").read_text(encoding="utf-8").splitlines()
    with attempt(database) as made:
        run = watch(made)
        for line in lines:
            run.hear(json.loads(line))
        made._held.flush()
        row = reads.get_operation(database, made.operation.id, None)
        assert row is not None
        assert row.phase is Phase.PUBLISH_EDGE
        statuses = {phase.name: phase.status for phase in row.phases or ()}
        assert list(statuses) == list(PROVISION.played)
        assert statuses.pop(Phase.PUBLISH_EDGE) is PhaseStatus.RUNNING
        assert set(statuses.values()) == {PhaseStatus.OK}
        log = reads.list_events(database, made.operation.id)
        assert [event.seq for event in log] == list(range(1, len(log) + 1))
        assert log[0].message == "cloning the template"
        assert "answers its players" in log[-1].message
        assert run.address is not None
        assert run.address.startswith("127.")


def test_beats_while_nothing_happens(database: Database) -> None:
    with attempt(database, heartbeat_seconds=0.05) as made:
        first = made.operation.heartbeat_at
        assert first is not None

        def beaten() -> bool:
            row = reads.get_operation(database, made.operation.id, None)
            return row is not None and row.heartbeat_at is not None and row.heartbeat_at > first

        assert becomes(beaten)


# when it ends itself


def test_stops_when_somebody_else_has_the_operation(database: Database) -> None:
    with attempt(database, heartbeat_seconds=0.05) as made:
        run = watch(made)
        made._held.flush()
        assert not run.should_stop()
        steal(database, made)
        assert becomes(run.should_stop)
        with pytest.raises(LostLease):
            made._held.flush()
        with pytest.raises(LostLease):
            made.persist(lambda: pytest.fail("it wrote"))


def test_stops_when_the_worker_hands_over(database: Database) -> None:
    with attempt(database, leaving=True) as made:
        run = watch(made)
        assert run.should_stop()
        made._held.flush()  # the lease is still ours: handing back is a write


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_stops_when_its_writer_dies_of_a_defect(database: Database) -> None:
    with attempt(database) as made:
        run = watch(made)
        made._held._updates.put(Logged(None, "no-such-level", "x"))
        assert becomes(run.should_stop)
        with pytest.raises(LostLease):
            made._held.flush()


def test_fences_itself_when_no_heartbeat_got_through(database: Database) -> None:
    made = attempt(database, age=24.5, lease_seconds=30)  # its writer does not run: it hangs on a frozen database
    run = watch(made)
    assert run.should_stop()
    with pytest.raises(LostLease):
        made._held.flush()


def test_does_not_fence_itself_while_the_lease_holds(database: Database) -> None:
    assert not watch(attempt(database, age=23, lease_seconds=30)).should_stop()


def test_stops_at_the_operations_deadline(database: Database) -> None:
    made = attempt(database, age=20, operation_deadline_seconds=19)
    run = watch(made)
    run.hear(STARTED)
    assert run.should_stop()
    assert run.stopped is not None
    assert (run.stopped.code, run.stopped.phase) == ("deadline-exceeded", "clone-container")
    assert "the operation took longer than its 19 s" in run.stopped.message


@pytest.mark.parametrize(("age", "stops"), [(100, False), (140, True)])
def test_stops_a_playbook_that_never_begins(database: Database, age: float, stops: bool) -> None:
    made = attempt(database, operation_deadline_seconds=1000)
    run = watch(made)
    run._since = time.monotonic() - age
    assert run.should_stop() is stops
    assert run.stopped is None
    assert run.fault == ("ansible-playbook came to no play within 120 s" if stops else None)


def test_case_a15_playbook_that_never_begins_is_its_workers_fault(database: Database) -> None:
    with attempt(database, operation_deadline_seconds=1000) as made:
        run = watch(made)
        run._since = time.monotonic() - 140
        assert run.should_stop()
        with pytest.raises(WorkerUnfit, match="came to no play"):
            made._conclude(run, Plan.of_kind(PROVISION), "stopped")


def test_has_the_deadline_of_its_operation_not_one_of_its_own(database: Database) -> None:
    claimed = claim(database).model_copy(update={"left_seconds": -1.0})
    made = Attempt(database, Settings(), claimed, time.monotonic(), threading.Event())
    run = watch(made)
    assert run.should_stop()
    assert run.stopped is not None
    assert run.stopped.code == "deadline-exceeded"


def test_stops_when_its_cancel_is_requested(database: Database) -> None:
    with attempt(database, heartbeat_seconds=0.05) as made:
        run = watch(made)
        run.hear(STARTED)
        assert not run.should_stop()
        assert requests.place_cancel(database, made.operation.id, CUSTOMER)
        assert becomes(run.should_stop)
        assert run.stopped is not None
        assert (run.stopped.code, run.stopped.phase) == ("cancelled", "clone-container")


def test_hears_no_cancel_while_it_is_undone(database: Database) -> None:
    with attempt(database, heartbeat_seconds=0.05) as made:
        run = watch(made, undoing=True)
        assert requests.place_cancel(database, made.operation.id, CUSTOMER)
        assert becomes(lambda: made._held.cancelled)
        assert not run.should_stop()


def test_has_no_deadline_while_it_is_undone(database: Database) -> None:
    made = attempt(database, age=20, operation_deadline_seconds=19)
    run = watch(made, undoing=True)
    run.hear(STARTED)
    assert not run.should_stop()


@pytest.mark.parametrize(("age", "stops"), [(5, False), (14, False), (16, True)])
def test_stops_a_phase_that_outlives_its_timeout_and_grace(database: Database, age: float, stops: bool) -> None:
    made = attempt(database, phase_timeouts={"clone-container": 5})
    run = watch(made)
    run.hear(STARTED)
    run._since = time.monotonic() - age
    assert run.should_stop() is stops
    if stops:
        assert run.stopped is not None
        assert "the phase clone-container took longer than its 5 s" in run.stopped.message


def test_keeps_order_between_phases_it_enters_and_events(database: Database) -> None:
    made = attempt(database)
    run = watch(made)
    made.enter(Phase.ALLOCATE_VMID)
    run.hear(STARTED)
    phases = []
    while True:
        try:
            update = made._held._updates.get_nowait()
        except queue.Empty:
            break
        assert isinstance(update, updates.PhaseEntered)
        phases.append(update.phase)
    assert phases == [Phase.ALLOCATE_VMID, Phase.CLONE_CONTAINER]


# what is known of a run


def claim_after(database: Database, made: Attempt) -> Claim:
    """Claim the operation as another worker, to which this attempt hands it over."""
    leases.hand_over(database, made.lease)
    claimed = claim_one(database, made.operation.id, claimant())
    assert claimed is not None
    return claimed


def test_keeps_what_a_run_has_told_before_its_files_found_no_room(database: Database, lab: Lab) -> None:
    entry = next(each for each in lab.site["dns"] if each["driver"] == "technitium")
    name, zone = entry["name"], entry["zone"]
    published = Publication("technitium", f"{name}/{zone}", "A", f"mc.{zone}", "192.0.2.1")

    def fill_the_disk(phase: Phase) -> None:
        if phase is Phase.STOP_CONTAINER:
            raise OSError(errno.ENOSPC, "No space left on device")

    with attempt(database, state_dir=lab.state_dir) as made:
        plan = Plan.of_phases((Phase.UNPUBLISH_EDGE, Phase.STOP_CONTAINER))
        server = Server(made.operation, 5000, "mc", publications=(published,))
        leases.record(database, made.lease, [PublicationsRecorded((published,))])
        with pytest.raises(WorkerUnfit, match="No space left on device"):
            made.play(plan, server, undoing=True, on_phase=fill_the_disk)
        made._held.flush()
    resumed = claim_after(database, made)
    assert resumed.publications == ()


# why it failed


def failed(play: str, message: str, code: str = "dns-failed") -> dict[str, Any]:
    return {
        "event": "runner_on_failed",
        "event_data": {"play": play, "task": "t", "res": {"code": code, "msg": message}},
    }


def test_keeps_the_first_failure_and_says_what_else_failed_in_its_phase(database: Database) -> None:
    made = attempt(database)
    run = watch(made)
    run.hear(failed("unpublish-edge", "the proxy is away", "velocity-failed"))
    run.hear(failed("unpublish-edge", "the provider is away"))
    run.hear(failed("stop-container", "another matter"))
    assert run.failure is not None
    assert run.failure.code == "velocity-failed"
    assert run.failure.message == "the proxy is away; also: the provider is away"


def test_bounds_the_message_of_many_failures(database: Database) -> None:
    made = attempt(database)
    run = watch(made)
    for number in range(9):
        run.hear(failed("unpublish-edge", f"{number}" * 1000))
    assert run.failure is not None
    assert len(run.failure.message) == 4000
