"""Measures how long an event inside ansible-playbook takes until a GET of the operation shows it."""

import threading
import time
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx

from bench.site import ORDER
from orchestrator.cli.run.stack import Stack
from orchestrator.play.events import Event, phase_of
from orchestrator.play.inventory import load_catalogue
from orchestrator.settings import load_settings
from orchestrator.store import leases
from orchestrator.store.connection import Database
from orchestrator.store.leases import Claimant
from orchestrator.worker.attempt import Attempt
from orchestrator.worker.carry import carry_out
from orchestrator.worker.watch import Watch

_POLL_SECONDS = 0.004
"""The seconds between two GETs of the operation, and so the resolution of the figure."""


class _TimedAttempt(Attempt):
    """An attempt that remembers when ansible-playbook began each play, by the event's own time."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.begun: dict[str, float] = {}

    def watch(self, *given: Any, **named: Any) -> Watch:
        """Return the watch of a run, which also notes when each play began, by the events' own times."""
        watch = super().watch(*given, **named)
        hear = watch.hear

        def note(event: Event) -> None:
            phase = phase_of(event)
            if event.get("event") == "playbook_on_play_start" and phase is not None:
                self.begun[phase] = datetime.fromisoformat(event["created"]).timestamp()
            hear(event)

        watch.hear = note  # type: ignore[method-assign]
        return watch


def measure(stack: Stack, orders: int) -> float:
    """Return the 99th percentile of the delay, in milliseconds.

    The stack's worker must not run, because the orders are carried out here, where the times of the events can be read.
    """
    settings = load_settings(state_dir=stack.settings.state_dir, database_url=stack.run["databaseUrl"])
    database = Database(stack.run["databaseUrl"], size=8)
    database.open()
    try:
        delays = [delay for _ in range(orders) for delay in _time_order(stack, database, settings)]
    finally:
        database.close()
    delays.sort()
    p99 = delays[min(len(delays) - 1, int(len(delays) * 0.99))]
    print(f"  event to GET: p50 {delays[len(delays) // 2]:.1f} ms, p99 {p99:.1f} ms, {len(delays)} phases")
    return p99


def _time_order(stack: Stack, database: Database, settings: Any) -> list[float]:
    headers = {"Authorization": f"Bearer {stack.run['operatorToken']}"}
    with httpx.Client(base_url=stack.run["url"], headers=headers, trust_env=False, timeout=30) as client:
        order = client.post("/api/instances", json=ORDER | {"customerId": "demo"}).raise_for_status().json()
        seen: dict[str, float] = {}
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(client, order["statusUrl"], seen, done))
        watcher.start()
        attempt = _carry_out(database, settings, UUID(order["operationId"]))
        done.set()
        watcher.join()
        teardown = client.delete(f"/api/instances/{order['serverId']}").raise_for_status().json()
        _carry_out(database, settings, UUID(teardown["operationId"]))
    return [(seen[phase] - begun) * 1000 for phase, begun in attempt.begun.items() if phase in seen]


def _carry_out(database: Database, settings: Any, operation_id: UUID) -> _TimedAttempt:
    claimed_at = time.monotonic()
    with database.transaction() as connection:
        claim = leases.claim(connection, operation_id, Claimant("bench", 30, 900, concurrency=1))
    assert claim is not None
    with _TimedAttempt(database, settings, claim, claimed_at, threading.Event()) as attempt:
        carry_out(attempt, load_catalogue(settings.catalogue_path))
    return attempt


def _watch(client: httpx.Client, path: str, seen: dict[str, float], done: threading.Event) -> None:
    while not done.wait(_POLL_SECONDS):
        operation = client.get(path).json()
        now = time.time()
        for phase in operation["phases"]:
            if phase["startedAt"]:
                seen.setdefault(phase["name"], now)
