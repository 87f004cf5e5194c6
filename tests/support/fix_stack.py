"""Fixtures: everything that runs in production, as real processes, on a lab without delays."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from orchestrator.cli.client.api import Client
from orchestrator.cli.run.stack import Stack
from orchestrator.settings import load_settings
from orchestrator.store import accounts
from orchestrator.store.connection import Database
from tests.support.fix_database import fresh_database, given_server
from tests.support.fix_lab import Lab, describe_lab

GUESTS = os.environ.get("HOSTWRIGHT_TEST_GUESTS", "process")
"""What the lab's containers are: process, or lxc (`make e2e GUESTS=lxc`)."""
AGENT_PROGRAM = {"process": "agent.pyc", "lxc": "hostwright_agent.py"}[GUESTS]
"""The agent's file, as its process names it."""
FINAL = {"succeeded", "failed", "cancelled"}
GAME = {"ctype": "game", "variant": "vanilla", "version": "1.21.7"}
DEV = {"ctype": "dev", "runtime": "python", "version": "3.12"}


@dataclass(frozen=True)
class Running:
    """A running Hostwright with its lab."""

    state_dir: Path
    url: str
    operator_token: str
    database: Database
    lab: Lab
    stack: Stack

    def customer(self, **limits: Any) -> Client:
        """A client with a token of a customer of its own."""
        customer_id = f"c-{uuid4().hex[:12]}"
        accounts.ensure_customer(self.database, customer_id)
        accounts.update_customer(self.database, customer_id, **limits)
        return Client(self.url, accounts.create_token(self.database, name="test", customer_id=customer_id))

    @property
    def operator(self) -> Client:
        """A client with the operator's token."""
        return Client(self.url, self.operator_token)

    def post(self, client: Client, body: Any, **headers: str) -> httpx.Response:
        """An order, as it stands; header names with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(
            f"{self.url}/api/instances",
            json=body,
            headers={"Authorization": f"Bearer {client.token}"} | named,
            timeout=60,
            trust_env=False,
        )

    def finish(self, client: Client, operation_id: str) -> dict[str, Any]:
        """The operation once it is final, with the reasons that only operators see."""
        while client.operation(operation_id, wait=5)["status"] not in FINAL:
            pass
        operation: dict[str, Any] = self.operator.operation(operation_id)
        return operation

    def provision(self, client: Client, order: dict[str, Any] | None = None) -> dict[str, Any]:
        """Order and wait; returns the final operation."""
        accepted = client.request("POST", "/api/instances", body=order or GAME)
        return self.finish(client, accepted["operationId"])

    def tear_down(self, client: Client, server_id: str) -> dict[str, Any]:
        """Delete and wait; returns the final operation."""
        accepted = client.request("DELETE", f"/api/instances/{server_id}")
        return self.finish(client, accepted["operationId"])


@contextmanager
def running_stack(*, speed: float = 0, concurrency: int = 2) -> Iterator[Running]:
    """A whole Hostwright of its own, stopped at the end."""
    # Not below pytest's own directory: root's database server runs as another user, who could not enter it.
    with tempfile.TemporaryDirectory(prefix="hostwright-stack-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o755)
        with stack_database() as database_url:
            settings = load_settings(state_dir=Path(home), port=0, concurrency=concurrency, database_url=database_url)
            with Stack(settings, speed=speed, guests=GUESTS, say=lambda line: None) as stack:
                database = Database(stack.run["databaseUrl"], size=4)
                database.open()
                lab = describe_lab(Path(home), stack.children["lab"].pid)
                yield Running(Path(home), stack.run["url"], stack.run["operatorToken"], database, lab, stack)
                database.close()


@contextmanager
def stack_database() -> Iterator[str | None]:
    """The URL of a database on the server that the tests are told to use; None for the stack's own, embedded one."""
    given = given_server()
    if given is None:
        yield None
        return
    with fresh_database(given, "stack") as url:
        yield url


@pytest.fixture(scope="session")
def shared_stack() -> Iterator[Running]:
    """One running Hostwright for all tests of a process."""
    with running_stack() as running:
        yield running


@pytest.fixture
def stack(shared_stack: Running) -> Iterator[Running]:
    """The running Hostwright, without faults before and after."""
    shared_stack.lab.clear_faults()
    yield shared_stack
    shared_stack.lab.clear_faults()
