"""Every scenario, one row each, in the groups that share a running site."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import get_args

from orchestrator.domain.operations import PROVISION, TEARDOWN, OperationKind
from orchestrator.domain.phases import Phase
from tests.chaos import lifecycle, load, outages, outside
from tests.chaos.attacks import Deed, Target, attack, cancel, phases_of
from tests.chaos.site import Plan
from tests.chaos.stage import Stage

CANCELLABLE = tuple(phase for phase in PROVISION.phases if phase is not Phase.COMPLETE)


@dataclass(frozen=True)
class Scenario:
    """One row. docs/reliability.md names it, so its name never changes."""

    name: str
    does: str
    expects: str
    run: Callable[[Stage], str]
    """Returns what was seen, or raises BrokenError when a promise was not kept."""


@dataclass(frozen=True)
class Group:
    """Scenarios on one site, `parallel` of them at a time. Those that disturb everybody run alone."""

    name: str
    scenarios: tuple[Scenario, ...]
    plan: Plan = field(default_factory=Plan)
    parallel: int = 1
    seconds: float = 20.0
    """Roughly how long one scenario takes."""


_VERBS: dict[Deed, str] = {"kill": "SIGKILL", "freeze": "SIGSTOP, SIGCONT after the lease,"}
_READY, _GONE = "succeeds, one instance", "succeeds, nothing left"


def _list_attacks(target: Target, deed: Deed, *kinds: OperationKind) -> Iterator[Scenario]:
    for kind in kinds:
        for phase in phases_of(kind, target):
            expected = _READY if kind is PROVISION else _GONE
            yield Scenario(
                f"{deed}-{target}-at-{phase}",
                f"{_VERBS[deed]} of {'the ' + target if target != 'postgres' else 'PostgreSQL'} in {phase}",
                expected,
                attack(target, deed, kind, phase),
            )


def _list_matrix() -> Iterator[Group]:
    """The attacks by target. Those that disturb only one operation run several at a time, the others one by one."""
    both = (PROVISION, TEARDOWN)
    for deed in get_args(Deed):
        for target in get_args(Target):
            alone = target in ("worker", "postgres")
            plan = Plan() if alone else Plan(concurrency=4, apis=2 if target == "api" else 1)
            rows = tuple(_list_attacks(target, deed, *both))
            yield Group(f"{deed}-{target}", rows, plan, parallel=1 if alone else 4)


def _list_cancels() -> Iterator[Scenario]:
    for phase in CANCELLABLE:
        yield Scenario(
            f"cancel-at-{phase}",
            f"cancel in {phase}",
            "processes gone within 2 s, cancelled, nothing left",
            cancel(phase),
        )


_FAST_AGENT = {"HOSTWRIGHT_PHASE_TIMEOUTS": '{"wait-for-agent-terminal-state": 20, "send-agent-config": 20}'}
_FAST_PHASES = {"HOSTWRIGHT_PHASE_TIMEOUTS": '{"configure-container": 20, "publish-edge": 20}'}
_FAST_LIFE = {
    "HOSTWRIGHT_PHASE_TIMEOUTS": '{"wait-for-agent-terminal-state": 20, "send-agent-config": 20, "publish-edge": 10}'
}
_FAST_CLEANUP = {"HOSTWRIGHT_CLEANUP_RETRY_SECONDS": "2"}
_FINE = "succeeds, one instance"
_CLEAN = "fails, nothing left"

_QUEUE = (
    Scenario("cancel-queued", "cancel an order that waits behind others", "cancelled at once, never begun",
             outages.cancel_queued),
    Scenario("queue-emptied", "the queue's table emptied ten times a second while 4 orders come in", "all succeed",
             outages.empty_queue),
    Scenario("lost-notify", "every listening connection cut off while an order comes in", _FINE,
             outages.cut_off_listeners),
    Scenario("postgres-away", "PostgreSQL stopped for 30 s in start-container; another order placed meanwhile",
             "both succeed", outages.stop_postgres),
)  # fmt: skip
_LOST = (
    Scenario("cancel-of-a-lost-worker", "cancel an order whose worker was just killed", "cancelled, nothing left",
             outages.cancel_after_kill),
    Scenario("lost-twice", "SIGKILL of the worker of an order, and of the one that resumed it",
             "fails with worker-lost, nothing left", outages.kill_worker_twice),
    Scenario("frozen-for-good-in-a-playbook", "SIGSTOP of a worker whose playbook runs, until the order is final",
             _FINE, outages.freeze_worker_for_good("start-container")),
    Scenario("frozen-for-good-in-a-transaction", "SIGSTOP of a worker with an open transaction, until it is final",
             _FINE, outages.freeze_worker_for_good("complete")),
)  # fmt: skip
_ALONE = (
    Scenario("frozen-alone", "SIGSTOP of the only worker: nobody is there to end its playbook",
             "its playbook ends before the lease", outages.freeze_only_worker),
)  # fmt: skip
_DISK = tuple(
    Scenario(f"disk-full-at-{phase}", f"nothing can be written to files for 10 s from {phase} on",
             "final, nothing lost or left; the next order succeeds", outages.fill_disk(phase))
    for phase in ("allocate-vmid", "configure-container", "publish-edge")
)  # fmt: skip
_PROXMOX = (
    *(
        Scenario(f"proxmox-{name}", f"Proxmox answers {status} {message} twice to every kind of read", _FINE,
                 outside.fail_reads(name))
        for name, (status, message) in outside.ERRORS.items()
    ),
    Scenario("proxmox-lock-timeout", "Proxmox cannot lock the configuration twice", _FINE,
             outside.refuse_configuration),
    Scenario("proxmox-restarted", "Proxmox's daemon away for 5 s during the clone, and again during the start", _FINE,
             outside.restart_proxmox),
    Scenario("proxmox-late", "a clone that Proxmox begins 20 s late, when its client has given up", _FINE,
             outside.delay_clone),
    Scenario("proxmox-hangs", "Proxmox does not answer one request for 30 s", _FINE, outside.hang_request),
    Scenario("proxmox-clone-unheard", "the connection cut after the clone was accepted", _FINE,
             outside.cut_clone_answer),
    Scenario("proxmox-clone-fails", "the task of the clone fails", _CLEAN, outside.fail_clone_task),
    Scenario("vmid-taken", "somebody makes a container on the VMID that is next", "another VMID, theirs untouched",
             outside.occupy_next_vmid),
)  # fmt: skip
_EDGE = (
    Scenario("agent-dies", "the agent ends while it installs", _CLEAN, outside.end_agent),
    Scenario("agent-comes-back", "the agent ends while it installs, and is back 3 s later", "all of it or nothing",
             outside.end_agent_for_a_moment),
    Scenario("proxy-stumbles", "the proxy's API refuses connections for 5 s before a server is registered", _FINE,
             outside.take_proxy_away),
    Scenario("dns-stumbles", "each DNS provider in turn answers 503 twice", _FINE, outside.refuse_dns_requests),
    Scenario("technitium-away", "the internal DNS provider answers 500 until the order has failed",
             "fails with dns-failed, nothing left in the end",
             outside.break_edge("dns-failed", {"target": "technitium", "httpStatus": 500})),
    Scenario("cloudflare-away", "the proxy refuses a server, and then its public records cannot be deleted",
             "fails with velocity-failed, nothing left in the end",
             outside.break_edge("velocity-failed",
                               {"target": "velocity", "path": "/register", "httpStatus": 400},
                               {"target": "cloudflare", "method": "DELETE", "httpStatus": 500})),
    Scenario("proxy-away", "the proxy takes a server, and then does not say what it has",
             "fails with velocity-failed, nothing left in the end",
             outside.break_edge("velocity-failed", {"target": "velocity", "path": "/status", "httpStatus": 500})),
    Scenario("proxy-restarted", "the proxy restarts while a server is being registered", _FINE,
             outside.restart_proxy),
)  # fmt: skip
_LIFECYCLE = (
    Scenario("stop-fails", "Proxmox refuses to stop a ready server until that has failed",
             "it is stopping, stopped by itself later, and starts again", lifecycle.fail_stop),
    Scenario("start-fails", "Proxmox refuses to start a stopped server until that has failed",
             "stopped as before, and starts again", lifecycle.fail_start),
    Scenario("retry-fails", "the proxy refuses a kept machine in its retry, too", "kept, the next retry succeeds",
             lifecycle.fail_retry),
    Scenario("keep-stays-published", "a kept machine while the proxy does not say what it has",
             "unpublished by itself later, deleted on request", lifecycle.keep_what_is_published),
    Scenario("publish-put-off", "a DNS provider wants no request for longer than the phase may take",
             "put off with its machine, then succeeds", lifecycle.put_publish_off),
    Scenario("proxy-restarted-between-orders", "the proxy restarts between two orders",
             "both are there after a start of the first", lifecycle.restart_proxy_between_orders),
    Scenario("cluster-file-system-away", "Proxmox refuses right tokens, cannot read its rights, and cannot write",
             _FINE, lifecycle.take_cluster_file_system_away),
    Scenario("newer-rows", "an operation of a kind that only a newer release knows, before an order",
             "the order succeeds, the other waits untouched", lifecycle.pass_newer_rows_over),
)  # fmt: skip
_JUMP = "the only worker's clock jumps an hour {} in the midst of 3 orders, and as far back in the midst of 3 more"
_CLOCK = "one worker of two has a clock that is an hour {}; each is killed once with 3 orders under way"

GROUPS: tuple[Group, ...] = (
    *_list_matrix(),
    Group("cancel", tuple(_list_cancels()), Plan(concurrency=4), parallel=4),
    Group("queue", _QUEUE),
    Group("lost", _LOST),
    Group("alone", _ALONE, Plan(workers=1)),
    Group("disk", _DISK, Plan(settings=_FAST_PHASES | _FAST_CLEANUP)),
    Group("proxmox", _PROXMOX),
    Group("edge", _EDGE, Plan(settings=_FAST_AGENT | _FAST_CLEANUP)),
    Group("lifecycle", _LIFECYCLE, Plan(settings=_FAST_LIFE | _FAST_CLEANUP)),
    Group(
        "sweepers",
        (
            Scenario("many-sweepers", "2 of 4 workers killed at once with 4 orders under way, the others sweep",
                     "all succeed", outages.kill_half_of_workers),
        ),
        Plan(workers=4, concurrency=4),
    ),
    *(
        Group(
            f"clock-{word}",
            (
                Scenario(f"clock-an-hour-{word}", _CLOCK.format(word), "all succeed",
                         outages.kill_workers_with_wrong_clock),
            ),
            Plan(concurrency=3, clock_offset=offset),
        )
        for word, offset in (("ahead", 3600), ("behind", -3600))
    ),
    *(
        Group(
            f"clock-jumps-{word}",
            (
                Scenario(f"clock-jumps-{word}", _JUMP.format(word), "all succeed", outages.jump_clock),
            ),
            Plan(workers=1, concurrency=3, clock_offset=offset, clock_jumps=True),
        )
        for word, offset in (("ahead", 3600), ("back", -3600))
    ),
    Group(
        "drain",
        (
            Scenario("drain", "SIGTERM of a worker in start-container", "it finishes the order first",
                     load.drain_worker),
        ),
        Plan(settings={"HOSTWRIGHT_DRAIN_SECONDS": "40"}),
    ),
    Group(
        "hand-over",
        (
            Scenario("hand-over", "SIGTERM of a worker whose order takes longer than it may drain",
                     "resumed by another worker, on the same VMID", load.hand_over),
            Scenario("rolling-restart", "every API and worker restarted in turn, 12 orders coming in",
                     "all succeed within 90 s each", load.restart_everything),
        ),
        Plan(workers=3, apis=2, concurrency=4, settings={"HOSTWRIGHT_DRAIN_SECONDS": "2"}),
    ),
    Group(
        "parallel",
        (
            Scenario("thirty-in-parallel", "30 orders of one template at once, 3 workers, concurrency 10",
                     "all succeed, never more than 10 at once", load.order_thirty_at_once),
        ),
        Plan(workers=3, concurrency=10),
        seconds=220,
    ),
    Group(
        "fair",
        (
            Scenario("fairness", "one customer orders 10 servers, then another one",
                     "the other one is not made to wait for all", load.order_for_two_customers),
        ),
        seconds=180,
    ),
)  # fmt: skip
"""All groups. Each has a site of its own, and the largest begin first."""

SCENARIOS: dict[str, Scenario] = {row.name: row for group in GROUPS for row in group.scenarios}
