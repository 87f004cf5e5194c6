"""Keeps an operation in a phase that is too short to be hit, by making slow what the phase waits for."""

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
def begun(site: Site, phases: Phases, begin: Callable[[], Server], phase: str) -> Iterator[tuple[Server, Place]]:
    """Begin an operation; inside, it is in this phase. Raises BrokenError when it never gets there."""
    if phase == "allocate-vmid":  # over before one could look, if the rows were not held first
        with _locked(site, "select from vmid_cursor for update") as lock:
            server = begin()
            yield server, _blocked(site, phases, lock, server.operation_id, phase)
        return
    server = begin()
    with held(site, phases, server, phase) as place:
        yield server, place


@contextmanager
def held(site: Site, phases: Phases, server: Server, phase: str) -> Iterator[Place]:
    """Inside, an operation that has begun is in this phase. Raises BrokenError when it never gets there."""
    operation = server.operation_id
    if phase in ("complete", "archive-instance"):
        before = {"complete": "publish-edge", "archive-instance": "delete-container"}[phase]
        phases.wait(operation, before, seconds=REACH_SECONDS)
        with _locked(site, "select from instance where id = %s for update", server.server_id) as lock:
            yield _blocked(site, phases, lock, operation, before)
    elif phase == "send-agent-config":
        place = phases.wait(operation, "wait-for-ip", seconds=REACH_SECONDS)
        with _slow_agent(site, place):
            yield phases.wait(operation, phase, seconds=REACH_SECONDS)
    else:
        yield phases.wait(operation, phase, seconds=REACH_SECONDS)


@contextmanager
def _locked(site: Site, query: str, *parameters: object) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Rows that nobody else can write meanwhile. The end does not wait for a server that may not answer."""
    connection = psycopg.connect(site.postgres.server.url)
    try:
        connection.execute(query.encode(), parameters)
        yield connection
    finally:
        connection.close()


def _blocked(
    site: Site, phases: Phases, lock: psycopg.Connection[tuple[object, ...]], operation: str, phase: str
) -> Place:
    """Wait until somebody waits for our lock while the operation is in this phase."""
    deadline = time.monotonic() + REACH_SECONDS
    query = "select count(*) from pg_stat_activity where %s = any(pg_blocking_pids(pid))"
    with psycopg.connect(site.postgres.server.url, autocommit=True) as watcher:
        while time.monotonic() < deadline:
            place = phases.now(operation)
            waiting = watcher.execute(query, (lock.info.backend_pid,)).fetchall() != [(0,)]
            if waiting and place is not None and place.phase == phase:
                return place
            time.sleep(0.02)
    raise BrokenError(f"operation {operation} never came to the rows that it should write")


@contextmanager
def _slow_agent(site: Site, place: Place) -> Iterator[None]:
    """The agent of the operation's container does not answer."""
    pid = _agent_pid(site, place)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _agent_pid(site: Site, place: Place) -> int:
    """The agent's process, which a real container's init starts only some time after the container."""
    deadline = time.monotonic() + REACH_SECONDS
    while time.monotonic() < deadline:
        found = (one["pid"] for one in site.lab.inventory()["containers"] if one["vmid"] == place.vmid)
        if pid := next(found, None):
            return int(pid)
        time.sleep(0.01)
    raise BrokenError(f"container {place.vmid} has no agent although its address is waited for")
