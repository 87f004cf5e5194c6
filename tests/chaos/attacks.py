"""The attacks of the matrix: SIGKILL and SIGSTOP of each process of ours at each phase, and a cancel at each phase."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Literal

from orchestrator.domain.operations import PROVISION, OperationKind
from orchestrator.domain.phases import Phase
from tests.chaos.customer import BrokenError, MissedError, Server
from tests.chaos.holds import begin_and_hold
from tests.chaos.parts import Processes, Victim
from tests.chaos.phases import Place
from tests.chaos.site import LEASE
from tests.chaos.stage import Stage

Deed = Literal["kill", "freeze"]
Target = Literal["worker", "playbook", "api", "postgres"]
FROZEN_SECONDS = LEASE + 2
"""It is longer than the lease, so that another worker has taken the operation before SIGCONT."""
TREE_GONE_SECONDS = 2.0
HELD_SECONDS = 0.5
TRIES = 3
"""A phase of some milliseconds may be over when the signal arrives. Then another order is tried."""


def phases_of(kind: OperationKind, target: Target) -> list[Phase]:
    """The phases of a kind in which a target exists; no playbook runs in a phase that only writes rows."""
    return [phase for phase in kind.phases if target != "playbook" or phase.is_played]


def retry_if_missed(once: Callable[[Stage], str]) -> Callable[[Stage], str]:
    """Try a scenario again with another order when its phase was over too early. The first order simply goes on."""

    def run(stage: Stage) -> str:
        for _ in range(TRIES - 1):
            with suppress(MissedError):
                return once(stage)
        return once(stage)

    return run


def attack(target: Target, deed: Deed, kind: OperationKind, phase: Phase) -> Callable[[Stage], str]:
    """The scenario of one cell of the matrix. It returns what was seen, and raises BrokenError."""

    def run(stage: Stage) -> str:
        missed = 0
        while True:
            server, hit = _attack_once(stage, kind, target, deed, phase)
            seen = _judge(stage, server)
            if hit == phase or missed == TRIES - 1:
                return seen if hit == phase else f"{seen} (met in {hit})"
            missed += 1

    return retry_if_missed(run)


def cancel(phase: Phase) -> Callable[[Stage], str]:
    """The scenario that cancels an order in this phase: its processes end within 2 s, and nothing of it is left."""

    def run(stage: Stage) -> str:
        with begin_and_hold(stage.site, stage.phases, stage.order, phase) as (server, _):
            runs = {one.run for one in stage.marks.living(server.operation_id)}
            asked_at, answers = time.monotonic(), []
            asking = threading.Thread(target=lambda: answers.append(server.customer.cancel(server)))
            asking.start()
            asking.join(HELD_SECONDS)  # after that the lock on the operation's rows is released, as it would be in life
        asking.join()
        if answers != [202]:
            raise BrokenError(f"the cancel was answered {answers}")
        stage.finish(server, "cancelled")
        stage.require_consistent(server)
        alive = max((stage.marks.last_seen(server.operation_id, run) - asked_at for run in runs), default=0.0)
        if alive > TREE_GONE_SECONDS:
            raise BrokenError(f"processes of the playbook were alive {alive:.1f} s after the cancel")
        return f"cancelled, processes gone after {max(alive, 0.0):.1f} s"

    return retry_if_missed(run)


def begin_operation(stage: Stage, kind: OperationKind) -> Server:
    """Order a server, or ask for the teardown of one that is ready."""
    if kind is PROVISION:
        return stage.order()
    server = stage.ready()
    server.customer.delete(server)
    return server


def _attack_once(
    stage: Stage, kind: OperationKind, target: Target, deed: Deed, phase: Phase
) -> tuple[Server, str | None]:
    """Carry out the attack. Returns the server, and the phase in which it met the operation."""
    with ExitStack() as stack:
        with begin_and_hold(stage.site, stage.phases, lambda: begin_operation(stage, kind), phase) as (server, place):
            victim = _find_victim(stage, place, target)
            if deed == "kill":
                victim.kill()
            else:
                stack.callback(victim.thaw)
                victim.freeze()
            met = _read_phase(stage, place) if target == "worker" and phase.is_played else str(phase)
        if deed == "freeze":
            time.sleep(FROZEN_SECONDS)
    return server, met


def _read_phase(stage: Stage, place: Place) -> str | None:
    now = stage.phases.now(place.operation)
    return now.phase if now else None


def _find_victim(stage: Stage, place: Place, target: Target) -> Victim:
    if target == "postgres":
        return stage.site.postgres
    if target == "api":
        return stage.site.apis[0]
    if target == "playbook":
        processes = stage.marks.living(place.operation)
        if not processes:
            raise BrokenError(f"operation {place.operation} has no process in {place.phase}")
        return Processes([one.pid for one in processes])
    worker = stage.site.worker_named(place.worker)
    if worker is None:
        raise BrokenError(f"operation {place.operation} is run by {place.worker}, which is no worker of this site")
    return worker


def _judge(stage: Stage, server: Server) -> str:
    """Check how the operation ended."""
    operation = stage.finish(server, "succeeded")
    stage.require_consistent(server)
    if server.is_there:
        stage.spare.append(server)
    return f"{operation['status']}, attempt {operation['attempt']}"
