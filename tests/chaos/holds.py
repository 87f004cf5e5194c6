"""Holds an operation in a phase that is too short to be hit, by slowing down what the phase waits for."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg

from tests.chaos.customer import BrokenError, Server
from tests.chaos.phases import Phases, Place
from tests.chaos.site import Site

REACH_SECONDS = 90.0


@contextmanager
def begin_and_hold(
    site: Site, phases: Phases, begin: Callable[[], Server], phase: str
) -> Iterator[tuple[Server, Place]]:
    """Begin an operation and hold it in this phase. Raises BrokenError when it never gets there."""
    if phase == "allocate-vmid":  # it would be over before one could look, so the rows are locked first
        with _lock_rows(site, "select from vmid_cursor for update") as lock:
            server = begin()
            yield server, _wait_until_blocked(site, phases, lock, server.operation_id, phase)
        return
    server = begin()
    with hold(site, phases, server, phase) as place:
        yield server, place


@contextmanager
def hold(site: Site, phases: Phases, server: Server, phase: str) -> Iterator[Place]:
    """Hold an operation that has begun in this phase. Raises BrokenError when it never gets there."""
    operation = server.operation_id
    if phase in ("complete", "archive-instance"):
        before = {"complete": "publish-edge", "archive-instance": "delete-container"}[phase]
        phases.wait(operation, before, seconds=REACH_SECONDS)
        with _lock_rows(site, "select from instance where id = %s for update", server.server_id) as lock:
            yield _wait_until_blocked(site, phases, lock, operation, before)
    elif phase == "send-agent-config":
        place = phases.wait(operation, "wait-for-ip", seconds=REACH_SECONDS)
        with _freeze_agent(site, place):
            yield phases.wait(operation, phase, seconds=REACH_SECONDS)
    else:
        yield phases.wait(operation, phase, seconds=REACH_SECONDS)


@contextmanager
def _lock_rows(site: Site, query: str, *parameters: object) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Lock rows, so that nobody else can write them. The release does not wait for a server that may not answer."""
    connection = psycopg.connect(site.postgres.server.url)
    try:
        connection.execute(query.encode(), parameters)
        yield connection
    finally:
        connection.close()


def _wait_until_blocked(
    site: Site, phases: Phases, lock: psycopg.Connection[tuple[object, ...]], operation: str, phase: str
) -> Place:
    """Wait until a process waits for our lock while the operation is in this phase."""
    deadline = time.monotonic() + REACH_SECONDS
    query = "select count(*) from pg_stat_activity where %s = any(pg_blocking_pids(pid))"
    with psycopg.connect(site.postgres.server.url, autocommit=True) as watcher:
        while time.monotonic() < deadline:
            place = phases.now(operation)
            waiting = watcher.execute(query, (lock.info.backend_pid,)).fetchall() != [(0,)]
            if waiting and place is not None and place.phase == phase:
                return place
            time.sleep(0.02)
    raise BrokenError(f"operation {operation} never came to the rows that it must write")


@contextmanager
def _freeze_agent(site: Site, place: Place) -> Iterator[None]:
    """Freeze the agent of the operation's container, so that it does not answer."""
    pid = _find_agent(site, place)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _find_agent(site: Site, place: Place) -> int:
    """The agent's process. In a real container, init starts it only some time after the container."""
    deadline = time.monotonic() + REACH_SECONDS
    while time.monotonic() < deadline:
        found = (one["pid"] for one in site.lab.inventory()["containers"] if one["vmid"] == place.vmid)
        if pid := next(found, None):
            return int(pid)
        time.sleep(0.01)
    raise BrokenError(f"container {place.vmid} has no agent although its address is waited for")
