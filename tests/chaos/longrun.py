"""The long run at random: customers order, cancel and delete, and every few seconds something is killed or frozen.

Each actor draws its choices from a sequence of its own that begins with the seed. The same seed makes the same choices,
though not at the same instants.
"""

import threading
import time
from collections.abc import Callable
from random import Random

from tests.chaos.attacks import FROZEN_SECONDS
from tests.chaos.customer import DEV, GAME, BrokenError, Customer, Server
from tests.chaos.marks import Marks
from tests.chaos.parts import Processes, Victim
from tests.chaos.site import Plan, Site
from tests.chaos.stage import Stage, run_stage

CUSTOMERS = 6
MOST_ORDERS = 150
"""The most that one customer orders, so that the run is bounded in count and not only in time."""
MOST_SERVERS = 4
"""The most that one customer keeps at the same time."""
PAUSE_SECONDS = (3.0, 8.0)
PATIENCE_SECONDS = 240.0
"""How long one order may take among many that may be lost and resumed."""
EXCUSED = frozenset({"worker-lost"})
"""With these codes an order may fail here: its workers were killed twice."""
PLAN = Plan(workers=3, apis=2, concurrency=4)
Say = Callable[[str], None]


def run(minutes: float, seed: int, say: Say) -> list[str]:
    """Run for `minutes`, and then check everything; returns the promises that were broken."""
    with Marks() as marks, run_stage(Site(PLAN, "long-run"), marks) as stage:
        ends_at = time.monotonic() + minutes * 60
        problems: list[str] = []
        actors = [_Customer(stage, number, seed, ends_at, problems) for number in range(CUSTOMERS)]
        threads = [
            threading.Thread(target=actor.live, name=f"customer-{number}") for number, actor in enumerate(actors)
        ]
        for thread in threads:
            thread.start()
        _attack_until(ends_at, stage, Random(f"{seed} attacker"), say)  # noqa: S311
        for thread in threads:
            thread.join()
        orders = sum(actor.orders for actor in actors)
        there = sum(server.is_there for server in stage.servers)
        say(f"{orders} orders; {there} servers are there, as customers were told")
        return problems + stage.finish_all() + stage.find_violations() + stage.clear_away()


class _Customer:
    """A customer who draws what to do next from a sequence of its own."""

    def __init__(self, stage: Stage, number: int, seed: int, ends_at: float, problems: list[str]) -> None:
        self.orders = 0
        self._stage = stage
        self._random = Random(f"{seed} customer {number}")  # noqa: S311
        self._customer: Customer = stage.site.customer()
        self._ends_at = ends_at
        self._problems = problems
        self._kept: list[Server] = []

    def live(self) -> None:
        while time.monotonic() < self._ends_at and self.orders < MOST_ORDERS:
            try:
                self._next()
            except BrokenError as error:
                self._problems.append(str(error))
                return

    def _next(self) -> None:
        if len(self._kept) >= MOST_SERVERS or (self._kept and self._random.random() < 0.3):
            self._delete(self._kept.pop(self._random.randrange(len(self._kept))))
            return
        self.orders += 1
        server = self._stage.order(self._customer, self._random.choice((GAME, GAME, DEV)))
        cancelled = self._random.random() < 0.25
        if cancelled:
            time.sleep(self._random.uniform(0, 12))
            server.customer.cancel(server)
        self._finish(server, *(("cancelled",) if cancelled else ()))

    def _finish(self, server: Server, *also: str) -> None:
        operation = self._stage.finish(server, seconds=PATIENCE_SECONDS)
        if operation["status"] == "succeeded":
            self._kept.append(server)
        elif operation["status"] not in also and operation["error"]["code"] not in EXCUSED:
            raise BrokenError(f"operation {operation['operationId']} {operation['status']}: {operation['error']}")

    def _delete(self, server: Server) -> None:
        for _ in range(5):
            self._customer.delete(server)
            if self._stage.finish(server, seconds=PATIENCE_SECONDS)["status"] == "succeeded":
                return
        raise BrokenError(f"server {server.server_id} cannot be deleted: {server.last['error']}")


def _attack_until(ends_at: float, stage: Stage, random: Random, say: Say) -> None:
    """Attack again and again. Whatever was frozen goes on in the end."""
    number = 0
    while time.monotonic() < ends_at:
        time.sleep(random.uniform(*PAUSE_SECONDS))
        number += 1
        target = random.choice(("worker", "worker", "worker", "playbook", "api", "postgres"))
        deed, which = random.choice(("kill", "freeze")), random.randrange(1000)
        victim, name = _choose_victim(stage, target, which)
        say(f"attack {number}: {deed} {name}")
        if deed == "kill":
            victim.kill()
            continue
        try:
            victim.freeze()
            time.sleep(FROZEN_SECONDS)
        finally:
            victim.thaw()


def _choose_victim(stage: Stage, target: str, which: int) -> tuple[Victim, str]:
    site = stage.site
    if target == "postgres":
        return site.postgres, "postgres"
    if target == "playbook":
        running = sorted(place.operation for place in stage.phases.all() if place.status == "running")
        operation = running[which % len(running)] if running else None
        living = stage.marks.living(operation) if operation else []
        return Processes([one.pid for one in living]), f"the playbook of {operation}"
    parts = site.workers if target == "worker" else site.apis
    return parts[which % len(parts)], parts[which % len(parts)].name
