"""Scenarios with many orders at once: back-pressure, fairness, and a restart of everything under load."""

import signal
import time
from datetime import datetime

from tests.chaos.customer import BrokenError, Server
from tests.chaos.parts import Part
from tests.chaos.stage import Stage

PARALLEL = 30
PARALLEL_SECONDS = 420.0
EARLIER = 10
ROLLING = 12
DELAY_SECONDS = 90.0
"""How long one order may take while everything is restarted around it."""
LEAVE_SECONDS = 60.0


def order_thirty_at_once(stage: Stage) -> str:
    """30 orders of one template at once, 10 at a time over 3 workers: Proxmox clones one at a time, and all succeed."""
    customers = [stage.site.customer() for _ in range(PARALLEL)]
    servers = [stage.order(customer) for customer in customers]
    most = _watch_running(stage, servers)
    for server in servers:
        stage.finish(server, "succeeded")
        stage.require_consistent(server)
    if most > stage.site.plan.concurrency:
        raise BrokenError(f"{most} operations ran at once, and the limit is {stage.site.plan.concurrency}")
    return f"{PARALLEL} succeeded, at most {most} at once"


def _watch_running(stage: Stage, servers: list[Server]) -> int:
    """Wait until all are final; returns how many ran at the same time at most."""
    ours, most = {server.operation_id for server in servers}, 0
    deadline = time.monotonic() + PARALLEL_SECONDS
    while True:
        live = [place for place in stage.phases.all() if place.operation in ours]
        most = max(most, sum(place.status in ("running", "cleaning") for place in live))
        if not live:
            return most
        if time.monotonic() > deadline:
            raise BrokenError(f"{len(live)} of {len(servers)} orders are not final after {PARALLEL_SECONDS:g} s")
        time.sleep(0.1)


def order_for_two_customers(stage: Stage) -> str:
    """One customer orders ten servers, and then another customer orders one, which must not wait for all ten."""
    many, few = stage.site.customer("many"), stage.site.customer("few")
    earlier = [stage.order(many) for _ in range(EARLIER)]
    later = stage.order(few)
    for server in (*earlier, later):
        stage.finish(server, "succeeded", seconds=PARALLEL_SECONDS)
    began = sorted(server.last["startedAt"] for server in earlier)
    before = sum(one < later.last["startedAt"] for one in began)
    if before > EARLIER // 2:
        raise BrokenError(f"the other customer's order began after {before} of the {EARLIER} that came before it")
    return f"began after {before} of {EARLIER}"


def drain_worker(stage: Stage) -> str:
    """A worker that gets SIGTERM finishes what it runs. Nothing is handed over, and the process ends by itself."""
    server = stage.order()
    place = stage.phases.wait(server.operation_id, "start-container", seconds=DELAY_SECONDS)
    worker = stage.site.worker_named(place.worker)
    assert worker is not None
    _restart(stage, worker)
    operation = stage.finish(server, "succeeded")
    stage.require_consistent(server)
    if operation["attempt"] != 1:
        raise BrokenError(f"it took {operation['attempt']} attempts")
    return "finished by the worker that was leaving"


def hand_over(stage: Stage) -> str:
    """An order that is not finished when the time to drain is over goes to another worker, on the same VMID."""
    stage.site.lab.fault(target="agent", behaviour="hang", times=1)
    server = stage.order()
    place = stage.phases.wait(server.operation_id, "wait-for-agent-terminal-state", seconds=DELAY_SECONDS)
    worker = stage.site.worker_named(place.worker)
    assert worker is not None
    _restart(stage, worker)
    now = stage.phases.now(server.operation_id)
    if now is None or (now.vmid, now.attempt > 2) != (place.vmid, False):
        raise BrokenError(f"it was {place} and became {now}")
    server.customer.cancel(server)
    stage.finish(server, "cancelled")
    stage.require_consistent(server)
    return "handed over, resumed on the same VMID"


def restart_everything(stage: Stage) -> str:
    """Every API and every worker is restarted in turn while orders come in. None is lost, and none waits for long."""
    customers = [stage.site.customer() for _ in range(ROLLING)]
    parts = [*stage.site.workers, *stage.site.apis]
    servers: list[Server] = []
    for part in parts:
        for customer in customers[len(servers) : len(servers) + ROLLING // len(parts) + 1]:
            servers.append(stage.order(customer))
        _restart(stage, part)
    for server in servers:
        stage.finish(server, "succeeded")
        stage.require_consistent(server)
    slowest = max(_measure_seconds(server) for server in servers)
    if slowest > DELAY_SECONDS:
        raise BrokenError(f"an order took {slowest:.0f} s")
    return f"{len(servers)} succeeded, the slowest in {slowest:.0f} s"


def _restart(stage: Stage, part: Part) -> None:
    """Restart a part with SIGTERM. Raises BrokenError unless it ends by itself with code 0."""
    old = part.process
    part.leave()
    deadline = time.monotonic() + LEAVE_SECONDS
    while not part.dead:
        if time.monotonic() > deadline:
            raise BrokenError(f"{part.name} was still there {LEAVE_SECONDS:g} s after SIGTERM")
        time.sleep(0.05)
    if old is not None and old.returncode not in (0, -signal.SIGTERM):  # uvicorn shuts down and then dies of the signal
        raise BrokenError(f"{part.name} ended with {old.returncode} after SIGTERM")
    part.killed = part.wanted = True  # the site's own thread then starts it again
    while part.process is old:
        time.sleep(0.05)
    stage.site.wait_until_ready()


def _measure_seconds(server: Server) -> float:
    told = server.last
    ended, began = datetime.fromisoformat(told["finishedAt"]), datetime.fromisoformat(told["createdAt"])
    return (ended - began).total_seconds()
