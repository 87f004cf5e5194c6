"""A whole site as real processes on the lab. It is started, supervised as by an init system, and stopped."""

import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import httpx

from orchestrator.settings import PROJECT_DIR
from orchestrator.store import accounts
from orchestrator.store.connection import Database
from orchestrator.store.embedded import EmbeddedPostgres
from orchestrator.store.migrations import migrate
from tests.chaos.customer import Customer
from tests.chaos.parts import Part, Postgres
from tests.support.fix_lab import Lab, describe_lab
from tests.support.fix_stack import GUESTS

LEASE, HEARTBEAT, SWEEP, REQUEUE = 6.0, 0.5, 1.0, 2.0
"""Seconds: the settings of a site's processes."""
RESTART_SECONDS = 0.5
"""How long after its end a process is started again."""
READY_SECONDS = 90
FOREIGN = (5004, 5011, 6003)
"""The VMIDs, in the middle of our ranges, of containers that somebody else made."""
CLOCK = PROJECT_DIR / "tests" / "chaos" / "clock"


@dataclass(frozen=True)
class Plan:
    """The parts of a site, and their settings."""

    workers: int = 2
    apis: int = 1
    concurrency: int = 2
    speed: float = 1.0
    settings: Mapping[str, str] = field(default_factory=dict)
    clock_offset: int = 0
    """Seconds by which the wall clock of the first worker is wrong."""
    clock_jumps: bool = False
    """Whether it is wrong only while the site's flag is there."""


class Site:
    """A site, used as a context manager. One thread of its own starts all processes, because they end with it."""

    def __init__(self, plan: Plan, name: str) -> None:
        """Describe the site, of which nothing runs yet."""
        self.plan = plan
        self.name = name
        self.state_dir = Path(tempfile.mkdtemp(prefix="hostwright-chaos-"))
        self.state_dir.chmod(0o755)  # PostgreSQL's own user must pass; what is secret below is 0600 or 0700
        self.logs = self.state_dir / "logs"
        self.logs.mkdir()
        self.clock_flag = self.state_dir / "clock-is-wrong"
        self.postgres = Postgres(EmbeddedPostgres(self.state_dir))
        self.workers: list[Part] = []
        self.apis: list[Part] = []
        self.urls: list[str] = []
        self.surprises: list[str] = []
        """The processes that ended by themselves."""
        self.kept = False
        """Whether the site's files are kept for a person to look into."""
        self.database: Database
        self.lab: Lab
        self._lab: Part
        self._ready, self._leaving = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._hands = threading.Thread(target=self._run, name=f"site-{name}", daemon=True)

    def __enter__(self) -> Self:
        self._hands.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._hands.join()
        if error is None and not self.surprises and not self.kept:
            shutil.rmtree(self.state_dir, ignore_errors=True)

    def customer(self, name: str = "c") -> Customer:
        """A new customer with a token of its own and a very large quota."""
        customer_id = f"{name}-{uuid4().hex[:12]}"
        accounts.ensure_customer(self.database, customer_id)
        accounts.update_customer(
            self.database, customer_id, max_instances=1000, max_memory_mib=4_000_000, max_cpu_cores=2000
        )
        token = accounts.create_token(self.database, name="chaos", customer_id=customer_id)
        return Customer(tuple(self.urls), token)

    def operator(self) -> Customer:
        """The operator of the site, with a token of its own."""
        return Customer(tuple(self.urls), accounts.create_token(self.database, name="chaos-operator", customer_id=None))

    def worker_named(self, name: str | None) -> Part | None:
        """The worker process that has this name in the database's rows. Its process id is a part of the name."""
        pids = set((name or "").split("-"))
        return next((part for part in self.workers if str(part.pid) in pids), None)

    def wait_until_ready(self) -> None:
        """Wait until every API has its database and a worker."""
        deadline = time.monotonic() + READY_SECONDS
        while not all(map(_is_ready, self.urls)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"site {self.name} is not ready after {READY_SECONDS} s: see {self.logs}")
            time.sleep(0.05)

    def make_worker(self, number: int) -> Part:
        """A worker process, which does not run yet."""
        offset = self.plan.clock_offset if number == 0 else 0
        shifted = {"PYTHONPATH": str(CLOCK), "CHAOS_CLOCK_OFFSET": str(offset)} if offset else {}
        if self.plan.clock_jumps:
            shifted["CHAOS_CLOCK_FLAG"] = str(self.clock_flag)
        return self._make_part(f"worker-{number}", "orchestrator.cli", "worker", **shifted)

    # the thread that starts everything

    def _run(self) -> None:
        try:
            self._start()
        except BaseException as error:  # noqa: BLE001 - any error is raised where the site is entered
            self._failure = error
        else:
            self._ready.set()
            self._supervise()
        finally:
            self._stop()
            self._ready.set()

    def _start(self) -> None:
        self.postgres.spawn()
        url = self.postgres.server.url
        migrate(url)
        self.database = Database(url, size=6)
        self.database.open()
        ports = [_free_port() for _ in range(self.plan.apis)]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self._start_lab()
        for number, port in enumerate(ports):
            part = self._make_part(f"api-{number}", "orchestrator.cli", "serve", HOSTWRIGHT_PORT=str(port))
            self.apis.append(part)
        self.workers += [self.make_worker(number) for number in range(self.plan.workers)]
        for part in (*self.apis, *self.workers):
            part.spawn()
        self.wait_until_ready()
        for vmid in FOREIGN:
            self.lab.place_foreign(vmid, f"theirs-{vmid}")

    def _start_lab(self) -> None:
        self._lab = self._make_part(
            "lab", "orchestrator.lab", "--state-dir", str(self.state_dir), "--speed", str(self.plan.speed),
            "--guests", GUESTS,
            "--callback-url", f"{self.urls[0]}/internal/velocity/proxy-status",
        )  # fmt: skip
        self._lab.spawn()
        deadline = time.monotonic() + READY_SECONDS
        while not (self.state_dir / "lab" / "lab.json").exists():
            if self._lab.dead or time.monotonic() > deadline:
                raise RuntimeError(f"the lab did not start: see {self._lab.log}")
            time.sleep(0.02)
        self.lab = describe_lab(self.state_dir, self._lab.pid)

    def _make_part(self, name: str, module: str, *arguments: str, **environment: str) -> Part:
        ours = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOSTWRIGHT_STATE_DIR": str(self.state_dir),
            "HOSTWRIGHT_DATABASE_URL": self.postgres.server.url,
            "HOSTWRIGHT_CONCURRENCY": str(self.plan.concurrency),
            "HOSTWRIGHT_LEASE_SECONDS": str(LEASE),
            "HOSTWRIGHT_HEARTBEAT_SECONDS": str(HEARTBEAT),
            "HOSTWRIGHT_SWEEP_SECONDS": str(SWEEP),
            "HOSTWRIGHT_REQUEUE_SECONDS": str(REQUEUE),
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HOSTWRIGHT_")}
        environment = kept | ours | dict(self.plan.settings) | environment
        return Part(name, ("-m", module, *arguments), environment, self.logs / f"{name}.log")

    def _supervise(self) -> None:
        ended: dict[str, float] = {}
        while not self._leaving.wait(0.05):
            parts: list[Part | Postgres] = [self.postgres, *self.apis, *self.workers]
            for part in parts:
                if not part.wanted or not part.dead:
                    continue
                if part.name not in ended:
                    ended[part.name] = time.monotonic()
                    self._note_surprise(part)
                elif time.monotonic() - ended[part.name] > RESTART_SECONDS:
                    del ended[part.name]
                    part.spawn()

    def _note_surprise(self, part: Part | Postgres) -> None:
        if isinstance(part, Part) and not part.killed and part.process is not None:
            self.surprises.append(f"{part.name} ended by itself with {part.process.returncode}: see {part.log}")

    def _stop(self) -> None:
        for part in (*self.workers, *self.apis):
            part.wanted = False
            if not part.dead:
                part.thaw()
                part.leave()
        for part in (*self.workers, *self.apis):
            if not part.stop():
                self.surprises.append(f"{part.name} did not stop within its time: see {part.log}")
        if hasattr(self, "_lab") and not self._lab.stop():
            self.surprises.append("the lab did not stop within its time")
        if hasattr(self, "database"):
            self.database.close()
        self.postgres.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
