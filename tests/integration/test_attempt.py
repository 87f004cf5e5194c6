"""An attempt's bookkeeping without a playbook: what it writes, when it stops itself, and when it must not write."""

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
from orchestrator.domain.errors import LostLease
from orchestrator.domain.models import Claim
from orchestrator.domain.phases import UNDO, Kind, Phase, played
from orchestrator.domain.states import PhaseStatus
from orchestrator.domain.updates import Logged
from orchestrator.settings import PROJECT_DIR, Settings
from orchestrator.store import leases, orders, reads, requests
from orchestrator.store.connection import Database
from orchestrator.worker.attempt import Attempt, playbooks
from tests.support.fix_database import CUSTOMER
from tests.support.storage import claimant

EVENTS = Path(__file__).parents[1] / "fixtures" / "events"
PLAYBOOKS = PROJECT_DIR / "playbooks"
STARTED = {"event": "playbook_on_play_start", "event_data": {"play": "clone-container"}}


def claim(database: Database, deadline_seconds: float = 900) -> Claim:
    spec = {"ctype": "game"}
    demand = Demand(str(uuid4()), request_hash(spec), "game", 1, 1)
    placed = orders.place_order(database, orders.Order(CUSTOMER, demand, spec))
    claimed = leases.claim(database, placed.operation_id, claimant(deadline_seconds=deadline_seconds))
    assert claimed is not None
    return claimed


def attempt(database: Database, *, age: float = 0, leaving: bool = False, **settings: Any) -> Attempt:
    """An attempt at a fresh operation that was claimed `age` seconds ago."""
    gone = threading.Event()
    if leaving:
        gone.set()
    given = Settings(**settings)
    claimed = claim(database, given.operation_deadline_seconds)
    return Attempt(database, given, claimed, time.monotonic() - age, gone)


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


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.CLEANUP}))
def test_plays_the_whole_playbook_for_all_phases_of_a_kind(kind: Kind) -> None:
    assert playbooks(played(kind)) == [PLAYBOOKS / f"{kind}.yml"]


def test_plays_the_teardown_to_clean_up_once_more() -> None:
    assert playbooks(played(Kind.CLEANUP)) == [PLAYBOOKS / "teardown.yml"]


def test_plays_the_phases_own_playbooks_for_a_part() -> None:
    assert playbooks(UNDO[Kind.PROVISION][1:]) == [
        PLAYBOOKS / "phases" / "stop_container.yml",
        PLAYBOOKS / "phases" / "delete_container.yml",
    ]


# what is written


def test_writes_a_recorded_run_in_order(database: Database) -> None:
    lines = (EVENTS / "success_game.jsonl").read_text(encoding="utf-8").splitlines()
    with attempt(database) as made:
        for line in lines:
            made._on_event(json.loads(line))
        made.flush()
        row = reads.get_operation(database, made.operation.id, None)
        assert row is not None
        assert row.phase is Phase.PUBLISH_EDGE
        statuses = {phase.name: phase.status for phase in row.phases or ()}
        assert list(statuses) == list(played(Kind.PROVISION))
        assert statuses.pop(Phase.PUBLISH_EDGE) is PhaseStatus.RUNNING
        assert set(statuses.values()) == {PhaseStatus.OK}
        log = reads.list_events(database, made.operation.id)
        assert [event.seq for event in log] == list(range(1, len(log) + 1))
        assert log[0].message == "cloning the template"
        assert "answers its players" in log[-1].message
        assert made.address is not None
        assert made.address.startswith("127.")


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
        made.flush()
        assert not made._should_stop()
        steal(database, made)
        assert becomes(made._should_stop)
        with pytest.raises(LostLease):
            made.flush()
        with pytest.raises(LostLease):
            made.persist(lambda: pytest.fail("it wrote"))


def test_stops_when_the_worker_hands_over(database: Database) -> None:
    with attempt(database, leaving=True) as made:
        assert made._should_stop()
        made.flush()  # the lease is still ours: handing back is a write


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_stops_when_its_writer_dies_of_a_defect(database: Database) -> None:
    with attempt(database) as made:
        made._keeper._updates.put(Logged(None, "no-such-level", "x"))
        assert becomes(made._should_stop)
        with pytest.raises(LostLease):
            made.flush()


def test_fences_itself_when_no_heartbeat_got_through(database: Database) -> None:
    made = attempt(database, age=24.5, lease_seconds=30)  # its writer does not run: it hangs on a frozen database
    assert made._should_stop()
    with pytest.raises(LostLease):
        made.flush()


def test_does_not_fence_itself_while_the_lease_holds(database: Database) -> None:
    assert not attempt(database, age=23, lease_seconds=30)._should_stop()


def test_stops_at_the_operations_deadline(database: Database) -> None:
    made = attempt(database, age=20, operation_deadline_seconds=19)
    made._on_event(STARTED)
    assert made._should_stop()
    assert made._stopped is not None
    assert (made._stopped.code, made._stopped.phase) == ("deadline-exceeded", "clone-container")
    assert "the operation took longer than its 19 s" in made._stopped.message


@pytest.mark.parametrize(("age", "stops"), [(100, False), (140, True)])
def test_stops_a_playbook_that_never_begins(database: Database, age: float, stops: bool) -> None:
    made = attempt(database, operation_deadline_seconds=1000)
    made._played_at = time.monotonic() - age
    assert made._should_stop() is stops
    if stops:
        assert made._stopped is not None
        assert (made._stopped.code, made._stopped.phase) == ("deadline-exceeded", None)


def test_has_the_deadline_of_its_operation_not_one_of_its_own(database: Database) -> None:
    claimed = claim(database).model_copy(update={"left_seconds": -1.0})
    made = Attempt(database, Settings(), claimed, time.monotonic(), threading.Event())
    assert made._should_stop()
    assert made._stopped is not None
    assert made._stopped.code == "deadline-exceeded"


def test_stops_when_its_cancel_is_requested(database: Database) -> None:
    with attempt(database, heartbeat_seconds=0.05) as made:
        made._on_event(STARTED)
        assert not made._should_stop()
        assert requests.place_cancel(database, made.operation.id, CUSTOMER)
        assert becomes(made._should_stop)
        assert made._stopped is not None
        assert (made._stopped.code, made._stopped.phase) == ("cancelled", "clone-container")


def test_hears_no_cancel_while_it_is_undone(database: Database) -> None:
    with attempt(database, heartbeat_seconds=0.05) as made:
        made.begin_undoing()
        assert requests.place_cancel(database, made.operation.id, CUSTOMER)
        assert becomes(lambda: made._keeper.cancelled)
        assert not made._should_stop()


def test_has_no_deadline_while_it_is_undone(database: Database) -> None:
    made = attempt(database, age=20, operation_deadline_seconds=19)
    made.begin_undoing()
    made._on_event(STARTED)
    assert not made._should_stop()


@pytest.mark.parametrize(("age", "stops"), [(5, False), (14, False), (16, True)])
def test_stops_a_phase_that_outlives_its_timeout_and_grace(database: Database, age: float, stops: bool) -> None:
    made = attempt(database, phase_timeouts={"clone-container": 5})
    made._on_event(STARTED)
    made._phase = (Phase.CLONE_CONTAINER, time.monotonic() - age)
    assert made._should_stop() is stops
    if stops:
        assert made._stopped is not None
        assert "the phase clone-container took longer than its 5 s" in made._stopped.message


def test_keeps_order_between_phases_it_enters_and_events(database: Database) -> None:
    made = attempt(database)
    made.enter(Phase.ALLOCATE_VMID, "choosing")
    made._on_event(STARTED)
    phases = []
    while True:
        try:
            update = made._keeper._updates.get_nowait()
        except queue.Empty:
            break
        assert isinstance(update, updates.PhaseEntered)
        phases.append(update.phase)
    assert phases == [Phase.ALLOCATE_VMID, Phase.CLONE_CONTAINER]


# why it failed


def failed(play: str, message: str, code: str = "dns-failed") -> dict[str, Any]:
    return {
        "event": "runner_on_failed",
        "event_data": {"play": play, "task": "t", "res": {"code": code, "msg": message}},
    }


def test_keeps_the_first_failure_and_says_what_else_failed_in_its_phase(database: Database) -> None:
    made = attempt(database)
    made._on_event(failed("unpublish-edge", "the proxy is away", "velocity-failed"))
    made._on_event(failed("unpublish-edge", "the provider is away"))
    made._on_event(failed("stop-container", "another matter"))
    assert made._failure is not None
    assert made._failure.code == "velocity-failed"
    assert made._failure.message == "the proxy is away; also: the provider is away"


def test_bounds_the_message_of_many_failures(database: Database) -> None:
    made = attempt(database)
    for number in range(9):
        made._on_event(failed("unpublish-edge", f"{number}" * 1000))
    assert made._failure is not None
    assert len(made._failure.message) == 4000
