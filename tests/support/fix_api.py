"""Fixtures: the API as a real process on a database of its own. No worker: what is ordered stays queued."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg import sql

from orchestrator.domain import updates
from orchestrator.domain.models import Lease, OperationRow
from orchestrator.domain.operations import PROVISION, TEARDOWN
from orchestrator.domain.phases import Phase
from orchestrator.processes import stop
from orchestrator.store import accounts, endings, leases
from orchestrator.store.connection import Database
from tests.support.fix_database import fresh_database
from tests.support.storage import allocate_vmid, try_claim

START_SECONDS = 60.0
LEASE_SECONDS = 600.0


@dataclass(frozen=True)
class Caller:
    """Somebody with a token, or with none."""

    http: httpx.Client
    customer_id: str | None = None
    token: str | None = None

    def request(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """The answer, whatever its status."""
        given: dict[str, str] = rest.pop("headers", {})
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return self.http.request(method, path, headers=headers | given, **rest)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.request("GET", path, headers=_named(headers))

    def delete(self, path: str) -> httpx.Response:
        return self.request("DELETE", path)

    def post(self, body: Any, **headers: str) -> httpx.Response:
        """An order; header names with _ for -."""
        return self.request("POST", "/api/instances", json=body, headers=_named(headers))

    def order(self, body: Any, **headers: str) -> dict[str, Any]:
        """An order that is accepted."""
        answer = self.post(body, **headers)
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def operation(self, operation_id: str) -> dict[str, Any]:
        answer = self.get(f"/api/instances/operations/{operation_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True)
class Api:
    """A running API process, its database, and the store's verbs in the place of a worker."""

    url: str
    pid: int
    database: Database
    http: httpx.Client
    log: Path

    def customer(self, **limits: Any) -> Caller:
        """A customer of its own, with a token."""
        customer_id = f"c-{uuid4().hex[:12]}"
        accounts.ensure_customer(self.database, customer_id)
        accounts.update_customer(self.database, customer_id, **limits)
        return self.caller(customer_id)

    def caller(self, customer_id: str | None, expires_at: datetime | None = None) -> Caller:
        """A further token, of a customer or of an operator."""
        token = accounts.create_token(self.database, name="test", customer_id=customer_id, expires_at=expires_at)
        return Caller(self.http, customer_id, token)

    def stranger(self, token: str | None = None) -> Caller:
        """Somebody the API does not know."""
        return Caller(self.http, None, token)

    def query(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Looks into the database, or changes it behind the API's back."""
        with self.database.transaction() as connection:
            cursor = connection.execute(text.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def claim(self, operation_id: str) -> OperationRow:
        """Takes an operation as a worker does."""
        row = try_claim(self.database, UUID(operation_id), lease_seconds=LEASE_SECONDS)
        assert row is not None
        return row

    def name(self, row: OperationRow) -> int:
        """Gives a claimed operation its VMID and host name."""
        leases.record(self.database, lease_of(row), [updates.PhaseEntered(Phase.ALLOCATE_VMID, "choosing a VMID")])
        bounds = (5000, 5999) if row.ctype == "game" else (6000, 6999)
        vmid = allocate_vmid(self.database, lease_of(row), bounds, ctype=row.ctype, prefix="host")
        assert vmid is not None
        return vmid

    def complete(self, accepted: dict[str, Any]) -> int:
        """Takes an order to its good end; returns its VMID."""
        row = self.claim(accepted["operationId"])
        vmid = self.name(row)
        endings.complete(self.database, PROVISION, row.instance_id, lease_of(row), address="127.0.0.9")
        return vmid

    def complete_teardown(self, accepted: dict[str, Any]) -> None:
        """Takes a teardown to its good end."""
        row = self.claim(accepted["operationId"])
        endings.complete(self.database, TEARDOWN, row.instance_id, lease_of(row))


def lease_of(row: OperationRow) -> Lease:
    """The right to write to a claimed operation."""
    return Lease(operation_id=row.id, fencing_token=row.fencing_token)


@contextmanager
def running_api(database_url: str, **settings: str) -> Iterator[Api]:
    """An API process of its own on a migrated database, stopped at the end; settings by name."""
    with tempfile.TemporaryDirectory(prefix="hostwright-api-") as home, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        probe.close()
        environment = {
            "HOSTWRIGHT_STATE_DIR": home,
            "HOSTWRIGHT_DATABASE_URL": database_url,
            "HOSTWRIGHT_PORT": str(port),
            **{f"HOSTWRIGHT_{name.upper()}": value for name, value in settings.items()},
        }
        log = Path(home) / "api.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.cli", "serve"],
                env=os.environ | environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
            )  # fmt: skip
        database = Database(database_url, size=8)
        try:
            limits = httpx.Limits(max_connections=64)
            url = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=url, timeout=60, trust_env=False, limits=limits) as http:
                _wait_until_up(process, http, log)
                database.open()
                yield Api(url, process.pid, database, http, log)
        finally:
            database.close()
            assert stop(process, 20), "the API did not stop by itself"


def _wait_until_up(process: subprocess.Popen[bytes], http: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            assert http.get("/healthz").status_code == 200
            return
        except httpx.TransportError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the API does not start:\n{log.read_text()}")
            time.sleep(0.02)


def is_problem(answer: httpx.Response, status: int, code: str, **members: Any) -> dict[str, Any]:
    """Asserts an RFC 9457 answer and returns it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"urn:hostwright:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert {name: problem.get(name) for name in members} == members
    return problem


def together(times: int, call: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    """Answers to requests that were sent at the same time."""
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(call, range(times)))


@pytest.fixture(scope="session")
def api(server_url: str, template: str) -> Iterator[Api]:
    """One API process for all tests of a process; each test has customers of its own."""
    with fresh_database(server_url, "api", template=template) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            # A server's zone must not show: this one's is not UTC.
            name = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL("alter database {} set timezone to 'Asia/Kolkata'").format(name))
        with running_api(url) as running:
            yield running
