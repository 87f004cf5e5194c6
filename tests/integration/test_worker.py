"""Worker processes as production runs them, on a fresh database and the lab: what they pick up, lose and hand back."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import psycopg
import pytest
from huey.registry import Message
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from orchestrator.api.instances.orders import parse_order
from orchestrator.domain.errors import Code
from orchestrator.domain.models import InstanceRow, OperationRow, Principal
from orchestrator.domain.operations import PROVISION, START, STOP, TEARDOWN
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import OPERATION_FINAL, InstanceStatus, OperationStatus, PhaseStatus
from orchestrator.play.inventory import load_catalogue
from orchestrator.settings import PROJECT_DIR, Settings
from orchestrator.store import accounts, endings, orders, reads, requests, sweep
from orchestrator.store.connection import Database
from orchestrator.store.embedded import EmbeddedPostgres
from orchestrator.store.migrations import migrate
from orchestrator.store.wakeups import QUEUE, RUN_OPERATION, JsonSerializer
from orchestrator.worker.loop import Worker
from tests.integration.test_runner import marked, run_directories
from tests.support import storage
from tests.support.fix_database import CUSTOMER, fresh_database
from tests.support.fix_lab import Lab
from tests.support.observe import agent_status, container

DEV = {"ctype": "dev", "runtime": "python", "version": "3.12"}
HANG = {"target": "agent", "behaviour": "hang"}
SLOW = {"target": "agent", "behaviour": "crash", "count": 1, "backoff": [6]}
"""The agent comes to its good end, after a while."""
QUICK = {"sweep_seconds": "0.3", "heartbeat_seconds": "0.3"}
SHORT_LEASE = QUICK | {"lease_seconds": "3"}


@dataclass(frozen=True)
class Site:
    """A database and the lab, for workers."""

    database: Database
    lab: Lab
    log: Path

    @contextmanager
    def worker(self, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker process; it is killed at the end if it still runs."""
        named = {f"HOSTWRIGHT_{name.upper()}": value for name, value in settings.items()}
        environment = os.environ | {
            "HOSTWRIGHT_DATABASE_URL": self.database.url,
            "HOSTWRIGHT_STATE_DIR": str(self.lab.state_dir),
        }
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.cli", "worker"],
                env=environment | named,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=PROJECT_DIR,
            )
        try:
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0, self.log.read_text()
        finally:
            process.kill()
            process.wait()

    def order(self, **changes: Any) -> UUID:
        """An order of which the workers are told, as the API does."""
        operation_id = self.place(**changes)
        orders.wake_workers(self.database)
        return operation_id

    def place(self, **changes: Any) -> UUID:
        """An order of a dev container, or of what the changes make of it; None takes a field away."""
        body = {name: value for name, value in (DEV | changes).items() if value is not None}
        catalogue = load_catalogue(Settings().catalogue_path)
        principal = Principal(name="test", customer_id=CUSTOMER)
        order = parse_order(json.dumps(body).encode(), str(uuid4()), principal, catalogue)
        return orders.place_order(self.database, order).operation_id

    def operation(self, operation_id: UUID) -> OperationRow:
        row = reads.get_operation(self.database, operation_id, None)
        assert row is not None
        return row

    def wait(self, what: Callable[[], Any], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def finish(self, operation_id: UUID) -> OperationRow:
        self.wait(lambda: self.operation(operation_id).status in OPERATION_FINAL)
        return self.operation(operation_id)

    def wait_for_phase(self, operation_id: UUID, phase: Phase) -> None:
        self.wait(lambda: self.operation(operation_id).phase == phase)

    def execute(self, text: str, *parameters: Any) -> None:
        with self.database.transaction() as connection:
            connection.execute(text.encode(), parameters)

    def containers(self) -> list[int]:
        return [container["vmid"] for container in self.lab.inventory()["containers"]]


@pytest.fixture
def site(database: Database, clean_lab: Lab, tmp_path: Path) -> Iterator[Site]:
    """Everything but a worker; at the end the lab must be as it was, and no run may be left."""
    before = clean_lab.inventory()
    site = Site(database, clean_lab, tmp_path / "worker.log")
    yield site
    for operation in reads.list_operations(database, customer_id=None):
        assert marked(operation.id) == []
        assert run_directories(operation.id) == []
    assert clean_lab.inventory() == before


_BREAK = """
create function break_down() returns trigger language plpgsql as
$$ begin raise exception 'a defect' using errcode = 'division_by_zero'; end $$;
create trigger break_down before update on operation for each row
when (new.id = '{}' and new.status = 'failed') execute function break_down()
"""


def test_goes_on_with_others_when_one_cannot_be_ended(server_url: str, template: str, lab: Lab) -> None:
    with fresh_database(server_url, "broken", template=template) as url:
        worker = Worker(Settings(database_url=url, state_dir=lab.state_dir, concurrency=2))
        worker.database.open()
        try:
            accounts.ensure_customer(worker.database, CUSTOMER)
            broken, other = (storage.place(worker.database).operation_id for _ in range(2))
            for operation_id in (broken, other):
                lease = storage.claim(worker.database, operation_id)
                endings.begin_cleaning(worker.database, lease, storage.FAILURE)
                storage.expire(worker.database, operation_id)
            storage.query(worker.database, "update operation set attempt = 10")
            storage.query(worker.database, _BREAK.format(broken))
            worker.run_operation(str(broken))
            assert storage.operation(worker.database, other).status is OperationStatus.FAILED
            assert storage.operation(worker.database, broken).status is OperationStatus.CLEANING
        finally:
            worker.database.close()


def tear_down(site: Site, operation_id: UUID) -> None:
    """Delete what a succeeded order made, by the worker that runs."""
    instance_id = site.operation(operation_id).instance_id
    placed = requests.place(site.database, TEARDOWN, server_id=instance_id, vmid=None, customer_id=None)
    assert placed is not None
    orders.wake_workers(site.database)
    assert site.finish(placed[0]).status is OperationStatus.SUCCEEDED


def assert_lost_and_cleaned(site: Site, operation: OperationRow) -> None:
    assert operation.status is OperationStatus.FAILED, site.log.read_text()
    assert operation.error is not None
    assert (operation.error.code, operation.error.phase) == (Code.WORKER_LOST, Phase.WAIT_FOR_AGENT)
    assert_cleaned(site, operation)


def assert_cleaned(site: Site, operation: OperationRow) -> None:
    assert operation.cleanup is not None
    assert operation.cleanup.status is PhaseStatus.OK, operation.cleanup
    assert [step.name for step in operation.cleanup.steps] == list(PROVISION.undo)
    assert operation.vmid not in site.containers()
    instance = reads.get_instance(site.database, server_id=operation.instance_id, vmid=None, customer_id=None)
    assert instance is not None
    assert (instance.status, instance.vmid) == (InstanceStatus.FAILED, None)


def test_picks_an_order_up_within_a_second_without_a_notification(site: Site) -> None:
    with site.worker():
        site.wait(lambda: sweep.live_workers(site.database, within_seconds=60) == 1)
        operation_id = site.place()
        operation = site.finish(operation_id)
        assert operation.status is OperationStatus.SUCCEEDED, operation.error
        assert operation.started_at is not None
        waited = (operation.started_at - operation.created_at).total_seconds()
        assert waited < 1.5, "a poll each second, and half a one for a busy machine"
        tear_down(site, operation_id)
    assert sweep.live_workers(site.database, within_seconds=60) == 0, "it said good-bye"


def test_goes_on_after_messages_that_make_no_sense(site: Site) -> None:
    def task(name: str, *arguments: Any) -> bytes:
        fields = Message(id=str(uuid4()), name=name, retries=0, retry_delay=0, args=list(arguments), kwargs={})
        return bytes(JsonSerializer().serialize(fields))

    broken = [
        b"\x80\x04not json",
        b"null",
        b"[]",
        task("os.system", "touch pwned"),
        task(RUN_OPERATION),
        task(RUN_OPERATION, "not-a-uuid"),
        task(RUN_OPERATION, str(uuid4())),
        task(RUN_OPERATION, {"operation": 7}),
    ]
    for data in broken:
        site.execute("insert into huey_task (queue, data, priority) values (%s, %s, 9)", QUEUE, data)
    operation_id = site.order()
    with site.worker():
        operation = site.finish(operation_id)
        assert operation.status is OperationStatus.SUCCEEDED, operation.error
        tear_down(site, operation_id)
    assert site.log.read_text().count("Traceback") >= 4, "what is no message of ours was met, and passed over"


def test_brings_an_order_back_whose_message_was_lost(site: Site) -> None:
    operation_id = site.order()
    site.execute("delete from huey_task")
    with site.worker(**QUICK, requeue_seconds="0.5"):
        operation = site.finish(operation_id)
        assert operation.status is OperationStatus.SUCCEEDED, operation.error
        tear_down(site, operation_id)


@contextmanager
def closed_to_all(database: Database) -> Iterator[None]:
    """The database takes no connections and has none, as if its server was away."""
    name = conninfo_to_dict(database.url)["dbname"]
    elsewhere = make_conninfo(database.url, dbname="postgres")
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        identifier = psycopg.sql.Identifier(str(name))
        connection.execute(psycopg.sql.SQL("alter database {} allow_connections false").format(identifier))
        try:
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
            yield
        finally:
            connection.execute(psycopg.sql.SQL("alter database {} allow_connections true").format(identifier))


def test_logs_an_outage_of_the_database_once_and_that_it_is_over(site: Site) -> None:
    with site.worker(**QUICK, concurrency="4"):
        site.wait(lambda: "operations at once" in site.log.read_text())
        time.sleep(1)  # every thread looks into the queue
        with closed_to_all(site.database):
            site.wait(lambda: "the database does not answer" in site.log.read_text())
            time.sleep(2)  # each of them tries again many times
        site.wait(lambda: "the database answers again" in site.log.read_text())
        operation = site.finish(site.order())
        assert operation.status is OperationStatus.SUCCEEDED
        tear_down(site, operation.id)
    lines = site.log.read_text().splitlines()
    assert sum("the database does not answer" in line for line in lines) == 1
    assert not [line for line in lines if "Traceback" in line or "huey" in line]


def test_resumes_after_a_worker_that_was_killed(site: Site) -> None:
    site.lab.fault(**SLOW)
    operation_id = site.order()
    with site.worker(**SHORT_LEASE) as first:
        site.wait_for_phase(operation_id, Phase.WAIT_FOR_AGENT)
        first.kill()
        first.wait()
        site.wait(lambda: not marked(operation_id))  # its playbook dies with it, tasks in sessions of their own too
        assert run_directories(operation_id)
    vmid = site.operation(operation_id).vmid
    with site.worker(**SHORT_LEASE):
        operation = site.finish(operation_id)
        assert operation.status is OperationStatus.SUCCEEDED, operation.error
        assert (operation.vmid, operation.attempt, operation.losses) == (vmid, 2, 1)
        tear_down(site, operation_id)


def test_cleans_up_after_two_workers_that_were_killed(site: Site) -> None:
    site.lab.fault(**HANG)
    operation_id = site.order()
    for attempt in (1, 2):
        with site.worker(**SHORT_LEASE) as worker:
            site.wait(lambda attempt=attempt: site.operation(operation_id).attempt == attempt)  # type: ignore[misc]
            site.wait_for_phase(operation_id, Phase.WAIT_FOR_AGENT)
            worker.kill()
            worker.wait()
    with site.worker(**SHORT_LEASE):
        operation = site.finish(operation_id)
    assert_lost_and_cleaned(site, operation)
    assert operation.attempt == 3


def test_lets_an_operation_end_when_it_is_told_to_leave(site: Site) -> None:
    operation_id = site.order()
    with site.worker(**QUICK) as first:
        site.wait_for_phase(operation_id, Phase.CLONE_CONTAINER)
        later = site.order()
        first.send_signal(signal.SIGTERM)
        assert first.wait(30) == 0, site.log.read_text()
    assert site.operation(operation_id).status is OperationStatus.SUCCEEDED
    assert site.operation(later).attempt == 0, "it takes nothing new"
    with site.worker(**QUICK):
        assert site.finish(later).status is OperationStatus.SUCCEEDED
        tear_down(site, operation_id)
        tear_down(site, later)


def test_hands_its_operation_over_when_it_may_not_wait(site: Site) -> None:
    site.lab.fault(**SLOW)
    operation_id = site.order()
    with site.worker(**QUICK, lease_seconds="600", drain_seconds="0.5") as first:
        site.wait_for_phase(operation_id, Phase.WAIT_FOR_AGENT)
        first.send_signal(signal.SIGTERM)
        assert first.wait(10) == 0, site.log.read_text()
    assert marked(operation_id) == []
    assert run_directories(operation_id) == []
    assert site.operation(operation_id).status is OperationStatus.QUEUED
    with site.worker(**QUICK):
        operation = site.finish(operation_id)  # at once, although the lease was for ten minutes
        assert operation.status is OperationStatus.SUCCEEDED, operation.error
        assert (operation.attempt, operation.losses) == (2, 0)
        tear_down(site, operation_id)


def test_cancels_what_runs_within_two_seconds_and_undoes_it(site: Site) -> None:
    site.lab.fault(**HANG)
    operation_id = site.order()
    with site.worker():
        site.wait_for_phase(operation_id, Phase.WAIT_FOR_AGENT)
        begun = time.monotonic()
        assert requests.place_cancel(site.database, operation_id, None)
        site.wait(lambda: site.operation(operation_id).status is not OperationStatus.RUNNING)
        assert time.monotonic() - begun < 2
        operation = site.finish(operation_id)
    assert operation.status is OperationStatus.CANCELLED
    assert operation.error is not None
    assert (operation.error.code, operation.error.phase) == (Code.CANCELLED, Phase.WAIT_FOR_AGENT)
    assert_cleaned(site, operation)


def cut_off(site: Site) -> OperationRow:
    """A cancelled order whose clone Proxmox begins afterwards."""
    told = len(site.lab.history())
    site.lab.fault(target="proxmox", method="POST", path="/lxc/9000/clone", error="delay", seconds=3600, times=1)
    operation_id = site.order()
    site.wait(lambda: [event for event in site.lab.history(told) if event["kind"] == "fault"])
    assert requests.place_cancel(site.database, operation_id, None)
    operation = site.finish(operation_id)
    assert operation.status is OperationStatus.CANCELLED
    assert operation.vmid not in site.containers()
    site.lab.clear_faults()
    site.wait(lambda: operation.vmid in site.containers())
    return operation


def test_removes_a_clone_that_proxmox_held_back_until_its_order_was_cancelled(site: Site) -> None:
    with site.worker(**QUICK):
        operation = cut_off(site)
        held = reads.get_instance(site.database, server_id=operation.instance_id, vmid=None, customer_id=None)
        assert held is not None
        assert (held.status, held.vmid, held.leaked) == (InstanceStatus.FAILED, operation.vmid, ())
        site.execute("update instance set attend_at = now() where attend_at is not null")
        site.wait(lambda: operation.vmid not in site.containers())
        site.wait(lambda: not [row for row in reads.list_operations(site.database, customer_id=None)
                               if row.status not in OPERATION_FINAL])  # fmt: skip
    released = reads.get_instance(site.database, server_id=operation.instance_id, vmid=None, customer_id=None)
    assert released is not None
    assert released.vmid is None


def test_tells_an_instance_where_to_report_once(site: Site) -> None:
    operation_id = site.order()
    with site.worker(public_url="http://127.0.0.1:9"):
        operation = site.finish(operation_id)
        assert operation.vmid is not None
        told = agent_status(site.lab, operation.vmid)["config"]["callback_url"]
        assert told.startswith("http://127.0.0.1:9/api/callbacks/")
        with site.database.transaction() as connection:
            rows = connection.execute("select operation_id, hash from callback_token").fetchall()
        assert [(row[0], bytes(row[1])) for row in rows] == [
            (operation_id, hashlib.sha256(told.rsplit("/", 1)[1].encode()).digest())
        ]
        tear_down(site, operation_id)


def test_never_starts_what_was_cancelled_in_the_queue(site: Site) -> None:
    operation_id = site.order()
    assert requests.place_cancel(site.database, operation_id, None)
    with site.worker(**QUICK, requeue_seconds="0.5"):
        later = site.order()
        assert site.finish(later).status is OperationStatus.SUCCEEDED
        tear_down(site, later)
    operation = site.operation(operation_id)
    assert (operation.status, operation.attempt) == (OperationStatus.CANCELLED, 0)


def test_retries_a_kept_machine_at_its_failed_phase(site: Site) -> None:
    site.lab.fault(target="agent", behaviour="error", message="no disk", times=1)
    operation_id = site.order(onFailure="keep")
    with site.worker(**QUICK):
        failed = site.finish(operation_id)
        assert failed.status is OperationStatus.FAILED
        retry = requests.place_retry(site.database, operation_id, None)
        assert retry is not None
        orders.wake_workers(site.database)
        again = site.finish(retry)
        assert again.status is OperationStatus.SUCCEEDED, again.error
        assert (again.vmid, again.retry_of) == (failed.vmid, operation_id)
        assert [phase.status for phase in again.phases or ()] == [PhaseStatus.OK] * len(again.phases or ())
        tear_down(site, retry)


def test_stops_and_starts_a_server(site: Site) -> None:
    operation_id = site.order(ctype="game", variant="vanilla", version="1.21.7", runtime=None)
    with site.worker(**QUICK):
        operation = site.finish(operation_id)
        assert operation.status is OperationStatus.SUCCEEDED, operation.error
        for kind, expected in ((STOP, InstanceStatus.STOPPED), (START, InstanceStatus.READY)):
            placed = requests.place(site.database, kind, server_id=operation.instance_id, vmid=None, customer_id=None)
            assert placed is not None
            orders.wake_workers(site.database)
            done = site.finish(placed[0])
            assert done.status is OperationStatus.SUCCEEDED, done.error
            found = reads.get_instance(site.database, server_id=operation.instance_id, vmid=None, customer_id=None)
            assert found is not None
            assert found.status is expected
        tear_down(site, operation_id)


def test_tries_again_what_could_not_be_cleaned_up(site: Site) -> None:
    site.lab.fault(target="agent", behaviour="error", message="no disk", times=1)
    site.lab.fault(target="proxmox", error="task", task="vzdestroy", message="protection mode enabled", times=1)
    operation_id = site.order()
    with site.worker(**QUICK, cleanup_retry_seconds="1"):
        operation = site.finish(operation_id)
        assert operation.cleanup is not None
        assert operation.cleanup.leaked == (f"container:{operation.vmid}",)
        assert [step.status for step in operation.cleanup.steps] == [PhaseStatus.OK, PhaseStatus.OK, PhaseStatus.FAILED]
        site.wait(lambda: not reads.list_instances(site.database, customer_id=None, leaked=True))
    cleaned = site.operation(operation_id).cleanup
    assert cleaned is not None
    assert cleaned.leaked == ()
    assert operation.vmid not in site.containers()


def game(site: Site, **order: Any) -> UUID:
    return site.order(ctype="game", variant="vanilla", version="1.21.7", runtime=None, **order)


def seen(site: Site, instance_id: UUID) -> InstanceRow:
    return storage.instance(site.database, instance_id)


def power_of(site: Site, operation: OperationRow) -> str:
    assert operation.vmid is not None
    return str((container(site.lab.inventory(), operation.vmid) or {})["status"])


def is_published(site: Site, hostname: str | None) -> bool:
    inventory = site.lab.inventory()
    return str(hostname) in json.dumps([inventory["records"], inventory["registrations"]])


def test_case_a4_a_stop_that_failed_half_way_is_taken_to_its_end_by_the_sweep(site: Site) -> None:
    operation_id = game(site)
    with site.worker(**QUICK, cleanup_retry_seconds="1", phase_timeouts='{"stop-container": 2}'):
        operation = site.finish(operation_id)
        assert operation.status is OperationStatus.SUCCEEDED, operation.error
        for path in ("/status/shutdown", "/status/stop"):
            site.lab.fault(target="proxmox", method="POST", path=path, status=500, message="got timeout")
        placed = requests.place(site.database, STOP, server_id=operation.instance_id, vmid=None, customer_id=None)
        assert placed is not None
        orders.wake_workers(site.database)
        assert site.finish(placed[0]).status is OperationStatus.FAILED
        assert not is_published(site, operation.hostname)
        left = seen(site, operation.instance_id)
        assert left.status is InstanceStatus.STOPPING, "nobody can join, and the container runs"
        assert left.failing_since is not None
        site.lab.clear_faults()
        site.wait(lambda: seen(site, operation.instance_id).status is InstanceStatus.STOPPED)
        after = seen(site, operation.instance_id)
        assert (after.attend_at, after.failing_since, after.leaked) == (None, None, ())
        assert power_of(site, operation) == "stopped"
        tear_down(site, operation_id)


def test_case_a5_what_a_kept_machine_left_at_the_edge_is_removed_while_it_is_kept(site: Site) -> None:
    site.lab.fault(target="velocity", path="/register", httpStatus=507, message="the proxy is full", times=1)
    site.lab.fault(target="technitium", path="/delete", status="error", errorMessage="Access was denied.")
    operation_id = game(site, onFailure="keep")
    with site.worker(**QUICK, cleanup_retry_seconds="1"):
        operation = site.finish(operation_id)
        kept = seen(site, operation.instance_id)
        assert (kept.status, kept.leaked) == (InstanceStatus.QUARANTINED, (f"edge:{operation.hostname}",))
        assert is_published(site, operation.hostname)
        site.lab.clear_faults()
        site.wait(lambda: seen(site, operation.instance_id).leaked == ())
        assert not is_published(site, operation.hostname)
        after = seen(site, operation.instance_id)
        assert (after.status, after.expires_at) == (InstanceStatus.QUARANTINED, kept.expires_at)
        assert power_of(site, operation) == "running"
        tear_down(site, operation_id)


def test_case_a10_shows_since_when_a_deletion_fails_and_when_it_is_tried_next(site: Site) -> None:
    operation_id = game(site)
    with site.worker(**QUICK, cleanup_retry_seconds="1"):
        operation = site.finish(operation_id)
        site.lab.fault(target="proxmox", method="DELETE", status=403, message="Permission check failed")
        placed = requests.place(site.database, TEARDOWN, server_id=operation.instance_id, vmid=None, customer_id=None)
        assert placed is not None
        orders.wake_workers(site.database)
        failed = site.finish(placed[0])
        assert failed.error is not None
        assert failed.error.code is Code.PROXMOX_DENIED
        (listed,) = reads.list_instances(site.database, customer_id=None, leaked=True)
        since = listed.failing_since
        assert (listed.id, listed.status) == (operation.instance_id, InstanceStatus.DELETING)
        assert since is not None
        again = "select count(*) from operation where kind = 'teardown' and status = 'failed'"
        site.wait(lambda: storage.query(site.database, again)[0][0] >= 2)
        assert seen(site, operation.instance_id).failing_since == since, "it is the same trouble"
        site.lab.clear_faults()
        site.wait(lambda: not reads.list_instances(site.database, customer_id=None, leaked=True))
    assert operation.vmid not in site.containers()


def test_ends_an_operation_at_its_deadline_and_still_cleans_up(site: Site) -> None:
    site.lab.fault(**HANG)
    operation_id = site.order()
    with site.worker(**QUICK, operation_deadline_seconds="5"):
        operation = site.finish(operation_id)
    assert operation.status is OperationStatus.FAILED
    assert operation.error is not None
    assert operation.error.code is Code.DEADLINE_EXCEEDED  # in whatever phase a busy machine has come to
    assert "the operation took longer than its 5 s" in operation.error.message
    assert operation.attempt == 1
    assert_cleaned(site, operation)


def test_ends_its_own_run_before_the_lease_does_when_the_database_hangs(tmp_path: Path, clean_lab: Lab) -> None:
    before = clean_lab.inventory()
    clean_lab.fault(**SLOW)
    with own_server() as (server, database):
        site = Site(database, clean_lab, tmp_path / "worker.log")
        with site.worker(**SHORT_LEASE):
            operation_id = site.order()
            site.wait_for_phase(operation_id, Phase.WAIT_FOR_AGENT)
            with frozen(server):
                deadline = time.monotonic() + 3.0
                while marked(operation_id):
                    assert time.monotonic() < deadline, "the lease has ended and the run goes on"
                    time.sleep(0.02)
            operation = site.finish(operation_id)
            assert operation.status is OperationStatus.SUCCEEDED, operation.error
            assert operation.losses == 1
            tear_down(site, operation_id)
        assert "no heartbeat got through" in site.log.read_text()
    assert clean_lab.inventory() == before


@contextmanager
def own_server() -> Iterator[tuple[EmbeddedPostgres, Database]]:
    """A PostgreSQL that nobody else uses, with one customer."""
    from tests.integration.test_embedded_postgres import directory

    with directory() as home:
        server = EmbeddedPostgres(home)
        url = server.start()
        migrate(url)
        database = Database(url, size=2)
        database.open()
        accounts.ensure_customer(database, CUSTOMER)
        yield server, database
        database.close()
        server.stop()


@contextmanager
def frozen(server: EmbeddedPostgres) -> Iterator[None]:
    """The whole server stands still."""
    assert server.pid is not None
    main = psutil.Process(server.pid)
    stopped = [main, *main.children(recursive=True)]
    for process in stopped:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def test_case_e13_logs_each_end_in_a_line(site: Site) -> None:
    with site.worker(**QUICK):
        good = site.finish(site.order())
        site.lab.fault(target="agent", behaviour="error", message="no room")
        bad = site.finish(site.order())
        tear_down(site, good.id)
        site.lab.clear_faults()
        site.lab.fault(**HANG)
        cancelled = site.order()
        site.wait(lambda: site.operation(cancelled).phase == Phase.WAIT_FOR_AGENT)
        requests.place_cancel(site.database, cancelled, CUSTOMER)
        site.finish(cancelled)
        site.wait(lambda: len(ends(site)) == 4)
    said = ends(site)
    assert re.search(rf"{good.id}: provision of {CUSTOMER}: succeeded after \d+\.\d s$", said[0])
    reason = "failed with agent-error at wait-for-agent-terminal-state"
    assert re.search(rf"{bad.id}: provision of {CUSTOMER}: {reason} after \d+\.\d s$", said[1])
    assert f"teardown of {CUSTOMER}: succeeded" in said[2]
    assert f"provision of {CUSTOMER}: cancelled at wait-for-agent-terminal-state after" in said[3]


def ends(site: Site) -> list[str]:
    """The lines of the worker's log that tell an end."""
    return [line for line in site.log.read_text().splitlines() if " after " in line and " s" in line]
