"""The scenarios of a cut network: one function for each kind, which cuts and then checks how everything ended."""

import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, cast

from orchestrator.domain.operations import OperationKind
from orchestrator.domain.phases import Phase
from tests.chaos.attacks import begin_operation, retry_if_missed
from tests.chaos.customer import BrokenError, Server
from tests.chaos.holds import REACH_SECONDS, begin_and_hold
from tests.chaos.phases import Place
from tests.chaos.site import LEASE, SWEEP
from tests.chaos.stage import Stage
from tests.hosts.network import LAB, Machine, Way, cut, unplug
from tests.hosts.site import HostsSite

LONG = 2 * LEASE + 2 * SWEEP
"""Seconds. It is longer than the lease, so that another worker has taken the operation by then."""
SHORT = LEASE / 3
"""TCP sends again after 0.2, 0.6, 1.4, 3.0 … seconds. So what was cut off for SHORT seconds is heard at most SHORT
seconds after the cut, which is within the four fifths of the lease after which a worker fences itself."""
HALF_OPEN = 30.0
"""Seconds within which both ends must notice a dead connection: their settings say 15 s, and some are to spare."""
Disturbance = Callable[[HostsSite, Machine], Any]
"""Gives a context manager that cuts the machine off."""


def cut_from_database(way: Way = "both") -> Disturbance:
    """The worker's machine and the database lose each other's packets, or one of them loses the other's."""
    return lambda site, machine: cut(machine, site.database_machine.address, way)


def pull_cable(site: HostsSite, machine: Machine) -> Any:
    """The machine loses all packets, because its cable is pulled."""
    return unplug(machine)


def cut_past_lease(disturbance: Disturbance, kind: OperationKind, phase: Phase) -> Callable[[Stage], str]:
    """The scenario in which an operation's worker is cut off for longer than its lease. Another one finishes it."""

    def run(stage: Stage) -> str:
        site = _site(stage)
        with ExitStack() as stack:
            with begin_and_hold(site, stage.phases, lambda: begin_operation(stage, kind), phase) as (server, place):
                watched = Watched(stage, place)
                stack.enter_context(disturbance(site, watched.machine))
                watched.begin()
            time.sleep(LONG)
            lived = watched.require_fenced()
        operation = stage.finish(server, "succeeded")
        watched.require_alone(server)
        back = _expect_next_claim(stage, watched.machine, server)
        return f"its run ended after {lived:.1f} s, attempt {operation['attempt']} succeeded; {back}"

    return retry_if_missed(run)


def cut_within_lease(disturbance: Disturbance, phase: Phase) -> Callable[[Stage], str]:
    """The scenario in which an order's worker is cut off for less than its lease. It goes on, and no other begins."""

    def run(stage: Stage) -> str:
        site = _site(stage)
        with ExitStack() as stack:
            with begin_and_hold(site, stage.phases, stage.order, phase) as (server, place):
                watched = Watched(stage, place)
                stack.enter_context(disturbance(site, watched.machine))
                watched.begin()
            time.sleep(SHORT)
        operation = stage.finish(server, "succeeded")
        watched.require_alone(server)
        if operation["attempt"] != place.attempt:
            raise BrokenError(f"attempt {operation['attempt']} ended it, though its worker was away for {SHORT:g} s")
        stage.spare.append(server)
        return "the same attempt succeeded"

    return retry_if_missed(run)


def cut_from_lab(seconds: float, phase: Phase, *statuses: str) -> Callable[[Stage], str]:
    """The scenario in which an order's worker loses the lab. It goes on, or fails with a reason and leaves nothing."""

    def run(stage: Stage) -> str:
        site = _site(stage)
        with ExitStack() as stack:
            with begin_and_hold(site, stage.phases, stage.order, phase) as (server, place):
                watched = Watched(stage, place)
                stack.enter_context(cut(watched.machine, LAB))
                watched.begin()
            time.sleep(seconds)
        operation = stage.finish(server, *statuses, seconds=stage.patience + seconds)
        stage.require_consistent_in_the_end(server)
        watched.require_alone(server)
        return f"{operation['status']}{_describe_reason(operation)}, attempt {operation['attempt']}"

    return retry_if_missed(run)


def cut_all_workers(stage: Stage) -> str:
    """Every worker is cut off from the database with orders under way. Afterwards the orders end."""
    site = _site(stage)
    servers = [stage.order() for _ in range(2)]
    for server in servers:
        stage.phases.wait(server.operation_id, Phase.CLONE_CONTAINER, seconds=REACH_SECONDS)
    with ExitStack() as stack:
        for machine in site.machines:
            stack.enter_context(cut(machine, site.database_machine.address))
        time.sleep(LONG)
        alive = [one for server in servers for one in stage.marks.living(server.operation_id)]
    if alive:
        raise BrokenError(f"playbooks were alive though no worker had had its lease for long: {alive}")
    attempts = [stage.finish(server, "succeeded")["attempt"] for server in servers]
    for server in servers:
        stage.require_consistent(server)
    return f"{len(servers)} succeeded, attempts {attempts}"


def break_connections(stage: Stage) -> str:
    """A worker's connections die without a word. The worker and the database both let go of them in time."""
    site = _site(stage)
    with ExitStack() as stack:
        with begin_and_hold(site, stage.phases, stage.order, Phase.START_CONTAINER) as (server, place):
            watched = Watched(stage, place)
            stack.enter_context(cut(watched.machine, site.database_machine.address))
            watched.begin()
        cut_at = time.monotonic()
        noticed = _measure_until(
            lambda: not _count_connections(watched.machine, site.database_machine), "the worker", cut_at
        )
        dropped = _measure_until(
            lambda: not _count_connections(site.database_machine, watched.machine), "the database", cut_at
        )
        lived = watched.require_fenced()
    operation = stage.finish(server, "succeeded")
    watched.require_alone(server)
    return (
        f"run ended after {lived:.1f} s, connections at the worker after {noticed:.1f} s, at the database after "
        f"{dropped:.1f} s; attempt {operation['attempt']} succeeded; "
        f"{_expect_next_claim(stage, watched.machine, server)}"
    )


class Watched:
    """An operation whose worker is about to be cut off."""

    def __init__(self, stage: Stage, place: Place) -> None:
        """Note which runs the operation has now, and on which machine."""
        self.machine = _site(stage).machine_of(place)
        self._stage, self._operation = stage, place.operation
        self._runs = {one.run for one in stage.marks.living(place.operation)}
        self._seq, self._cut_at = 0, 0.0

    def begin(self) -> None:
        """Note that the machine is cut off from now on."""
        self._cut_at = time.monotonic()
        self._seq = max((event["seq"] for event in self._stage.site.lab.history()), default=0)

    def require_fenced(self) -> float:
        """Check that the run ended before the lease and left no run directory; returns how many seconds it lived."""
        seen = [self._stage.marks.last_seen(self._operation, run) for run in self._runs]
        lived = max(0.0, max(seen, default=0.0) - self._cut_at)
        if lived > LEASE:
            raise BrokenError(f"the playbook on {self.machine.name} lived {lived:.1f} s, and the lease was {LEASE:g} s")
        left = [name for name in self.machine.run_directories if self._operation in name]
        if left:
            raise BrokenError(f"{self.machine.name} still has {left}")
        return lived

    def require_alone(self, server: Server) -> None:
        """Check that no two runs were alive at once, and that this machine changed nothing after another one did."""
        self._stage.require_consistent(server)
        vmid = server.last["vmid"]
        asked = [
            event["client"]
            for event in self._stage.site.lab.history(self._seq)
            if event["kind"] == "proxmox" and event["vmid"] == vmid
        ]
        others = [index for index, client in enumerate(asked) if client != self.machine.address]
        if others and self.machine.address in asked[others[0] :]:
            raise BrokenError(f"{self.machine.name} ({self.machine.address}) changed {vmid} after another: {asked}")


def _site(stage: Stage) -> HostsSite:
    return cast(HostsSite, stage.site)


def _expect_next_claim(stage: Stage, machine: Machine, server: Server) -> str:
    """Check that the machine works again: alone with the database it must carry out the next operation."""
    site = _site(stage)
    with ExitStack() as stack:
        for other in site.machines:
            if other is not machine:
                stack.enter_context(cut(other, site.database_machine.address))
        if server.is_there:
            server.customer.delete(server)
        else:
            server = stage.order()
            stage.spare.append(server)
        operation = stage.finish(server, "succeeded")
        worker = site.worker_of(server.operation_id)
    if not worker.startswith(f"{machine.name}-"):
        raise BrokenError(f"{machine.name} was back, and {worker} carried out the next operation")
    stage.require_consistent(server)
    return f"{machine.name} did the next {operation['kind']}"


def _count_connections(machine: Machine, other: Machine) -> int:
    """How many TCP connections a machine believes it has with another."""
    command = [*machine.enter("--net"), "ss", "--tcp", "--no-header", "state", "established", "dst", other.address]
    return len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())


def _measure_until(gone: Callable[[], bool], who: str, since: float) -> float:
    while not gone():
        if time.monotonic() - since > HALF_OPEN:
            raise BrokenError(f"{who} still believed in its connections {HALF_OPEN:g} s after they had died")
        time.sleep(0.1)
    return time.monotonic() - since


def _describe_reason(operation: Mapping[str, Any]) -> str:
    error = operation["error"]
    return f" with {error['code']} in {error['phase']}" if error else ""
