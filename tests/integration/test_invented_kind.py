"""A kind of operation that only its entry in the table knows: everything that is done with kinds follows from it.

Nothing here changes any other code: where a kind is asked for by name somewhere, these tests fail.
"""

import threading
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest

from orchestrator.api.operations.answers import operation_answer
from orchestrator.domain.errors import Code, LostLease, Problem
from orchestrator.domain.models import InstanceRow, OperationRow
from orchestrator.domain.operations import KINDS, STOP, Ending, OperationKind, Step
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import InstanceStatus, OperationStatus, PhaseStatus
from orchestrator.play.inventory import load_catalogue
from orchestrator.settings import Settings
from orchestrator.store import endings, leases, reads, requests
from orchestrator.store.connection import Database
from orchestrator.worker.attempt import Attempt
from orchestrator.worker.carry import carry_out
from tests.support import storage
from tests.support.fix_database import CUSTOMER
from tests.support.fix_proxmox import NODE, FakeProxmox

WAKE_UP = OperationKind(
    name="wake-up",
    steps=(Step(Phase.START_CONTAINER, undo=Phase.STOP_CONTAINER),),
    ending=Ending.READY,
    final_phase=Phase.COMPLETE,
    success="{hostname} is awake",
    busy="the server is being woken up",
    begins_in=frozenset({InstanceStatus.STOPPED}),
    cancellable=True,
    book="phases/start_container",
)
"""It starts a container, and is undone by stopping it. Its playbook is that of its only phase."""


class Site:
    """A stopped server whose container exists, and a worker that is this process."""

    def __init__(self, database: Database, proxmox: FakeProxmox) -> None:
        self.database = database
        self.proxmox = proxmox
        self.settings = Settings(state_dir=proxmox.state_dir)
        self.server = self._make_stopped_server()
        mark = {"tags": f"hostwright;hw-{self.server.id}", "description": f"instance={self.server.id}"}
        proxmox.pve.add_ct(self.server.vmid, name="mc", node=NODE, status="stopped", config=mark)

    def _make_stopped_server(self) -> InstanceRow:
        ready = storage.provision(self.database)
        placed = self.place(STOP, ready.id)
        endings.complete(self.database, STOP, ready.id, storage.claim(self.database, placed))
        return storage.instance(self.database, ready.id)

    def place(self, kind: OperationKind, server_id: UUID | None = None) -> UUID:
        wanted = server_id or self.server.id
        placed = requests.place(self.database, kind, server_id=wanted, vmid=None, customer_id=CUSTOMER)
        assert placed is not None
        return placed[0]

    def carry_out(self) -> OperationRow:
        """Take the operation whose turn it is to the end of this attempt."""
        claimed_at = time.monotonic()
        claim = leases.claim_next(self.database, storage.claimant())
        assert claim is not None
        attempt = Attempt(self.database, self.settings, claim, claimed_at, threading.Event())
        # As the worker: what is handed over is lost to this attempt, and the row says what came of it.
        with suppress(LostLease), attempt:
            carry_out(attempt, load_catalogue(self.settings.catalogue_path))
        return storage.operation(self.database, claim.operation.id)

    @property
    def power(self) -> str:
        return str(self.proxmox.pve.ct(self.server.vmid).status)

    def assert_undone(self, operation: OperationRow, status: OperationStatus, code: Code) -> None:
        assert operation.status is status
        assert operation.error is not None
        assert operation.error.code is code
        assert operation.cleanup is not None
        assert [(step.name, step.status) for step in operation.cleanup.steps] == [
            (Phase.STOP_CONTAINER, PhaseStatus.OK)
        ]
        assert storage.instance(self.database, self.server.id).status is InstanceStatus.STOPPED
        assert self.power == "stopped"


@pytest.fixture
def site(database: Database, proxmox: FakeProxmox, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setitem(KINDS, WAKE_UP.name, WAKE_UP)
    proxmox.write_site()
    return Site(database, proxmox)


def test_carries_out_a_kind_that_only_the_table_knows(site: Site) -> None:
    operation_id = site.place(WAKE_UP)
    assert site.place(WAKE_UP) == operation_id, "asking again gives the same"
    with pytest.raises(Problem, match="the server is being woken up"):
        site.place(STOP)
    operation = site.carry_out()
    assert operation.status is OperationStatus.SUCCEEDED
    assert site.power == "running"
    assert storage.instance(site.database, site.server.id).status is InstanceStatus.READY
    assert storage.messages(site.database, operation_id)[-1] == f"{site.server.hostname} is awake"
    answer = operation_answer(operation, "")
    assert [phase.name for phase in answer.phases or ()] == [Phase.START_CONTAINER, Phase.COMPLETE]
    assert reads.list_operations(site.database, customer_id=CUSTOMER, kind=WAKE_UP.name) != []


def test_refuses_it_in_a_state_that_it_does_not_begin_in(site: Site) -> None:
    site.place(WAKE_UP)
    site.carry_out()
    with pytest.raises(Problem, match="only a stopped one can wake-up"):
        site.place(WAKE_UP)


def test_cancels_it_and_undoes_what_was_done(site: Site) -> None:
    operation_id = site.place(WAKE_UP)
    lose(site, operation_id)
    site.proxmox.pve.ct(site.server.vmid).status = "running"  # its worker had come so far
    assert "cancel" in operation_answer(storage.operation(site.database, operation_id), "").links
    assert requests.place_cancel(site.database, operation_id, CUSTOMER)
    site.assert_undone(site.carry_out(), OperationStatus.CANCELLED, Code.CANCELLED)


def test_cancels_it_at_once_while_nothing_is_done(site: Site) -> None:
    operation_id = site.place(WAKE_UP)
    assert requests.place_cancel(site.database, operation_id, CUSTOMER)
    assert storage.operation(site.database, operation_id).status is OperationStatus.CANCELLED
    assert storage.instance(site.database, site.server.id).status is InstanceStatus.STOPPED


def lose(site: Site, operation_id: UUID) -> None:
    """A worker takes it, stops answering, and another sweeps."""
    claimed = leases.claim_next(site.database, storage.claimant())
    assert claimed is not None
    assert claimed.operation.id == operation_id
    storage.expire(site.database, operation_id)
    assert storage.swept(site.database).lost == [operation_id]


def test_resumes_it_after_the_first_loss(site: Site) -> None:
    operation_id = site.place(WAKE_UP)
    lose(site, operation_id)
    assert storage.operation(site.database, operation_id).status is OperationStatus.QUEUED
    assert site.carry_out().status is OperationStatus.SUCCEEDED
    assert site.power == "running"


def test_undoes_it_after_the_second_loss(site: Site) -> None:
    operation_id = site.place(WAKE_UP)
    lose(site, operation_id)
    lose(site, operation_id)
    assert storage.operation(site.database, operation_id).status is OperationStatus.CLEANING
    site.proxmox.pve.ct(site.server.vmid).status = "running"
    site.assert_undone(site.carry_out(), OperationStatus.FAILED, Code.WORKER_LOST)


def test_undoes_it_after_a_defect(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = WAKE_UP.__class__(**{**vars(WAKE_UP), "success": "{nobody}"})
    monkeypatch.setitem(KINDS, WAKE_UP.name, broken)
    operation_id = site.place(broken)
    assert site.carry_out().status is OperationStatus.CLEANING
    assert site.power == "running"
    operation = site.carry_out()
    assert operation.id == operation_id
    site.assert_undone(operation, OperationStatus.FAILED, Code.INTERNAL)


def test_hands_it_over_when_its_undoing_meets_a_defect(site: Site) -> None:
    operation_id = site.place(WAKE_UP)
    lose(site, operation_id)
    assert requests.place_cancel(site.database, operation_id, CUSTOMER)
    settings = site.settings
    site.settings = settings.model_copy(update={"phase_timeouts": None})  # no run can be played with these
    assert site.carry_out().status is OperationStatus.CLEANING
    site.settings = settings
    site.assert_undone(site.carry_out(), OperationStatus.CANCELLED, Code.CANCELLED)


def test_fails_it_when_no_worker_takes_it_in_time(site: Site, tmp_path: Path) -> None:
    operation_id = site.place(WAKE_UP)
    storage.query(
        site.database, "update operation set created_at = now() - interval '2 hours' where id = %s", operation_id
    )
    assert storage.swept(site.database).overdue == [operation_id]
