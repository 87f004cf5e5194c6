"""Scenarios in which the world around Hostwright fails: Proxmox, agents, DNS providers and the proxy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tests.chaos.customer import BrokenError, Server
from tests.chaos.holds import REACH_SECONDS
from tests.chaos.stage import Stage

CONFIG = "/lxc/*/config"
READS = (CONFIG, "/lxc/*/status/current", "/lxc/*/interfaces", "/tasks/*/status")
ERRORS: dict[str, tuple[int, str]] = {
    "595": (595, "Connection refused"),
    "596": (596, "Connection timed out"),
    "command-socket": (500, "failed to read from command socket: Connection reset by peer"),
    "got-timeout": (500, "can't lock file '/run/lock/lxc/pve-config-5000.lock' - got timeout"),
}
FAILS_SECONDS = 40.0


def fail_reads(name: str) -> Callable[[Stage], str]:
    """The scenario in which each read of a container and of a task fails twice with this error."""
    status, message = ERRORS[name]

    def run(stage: Stage) -> str:
        with clearing_faults(stage):
            for path in READS:
                stage.site.lab.fault(target="proxmox", method="GET", path=path, status=status, message=message, times=2)
            return expect_success(stage, stage.order())

    return run


def refuse_configuration(stage: Stage) -> str:
    """Proxmox refuses to change the configuration twice, because something else holds the lock."""
    status, message = ERRORS["got-timeout"]
    with clearing_faults(stage):
        stage.site.lab.fault(target="proxmox", method="PUT", path=CONFIG, status=status, message=message, times=2)
        return expect_success(stage, stage.order())


def restart_proxmox(stage: Stage) -> str:
    """Proxmox's daemon is away for 5 s during the clone, and again while the container starts."""
    server = stage.order()
    for phase in ("clone-container", "start-container"):
        stage.phases.wait(server.operation_id, phase, seconds=REACH_SECONDS)
        stage.site.lab.restart_proxmox(5)
    return expect_success(stage, server)


def delay_clone(stage: Stage) -> str:
    """Proxmox carries a clone out 20 s late, after its client has given up."""
    with clearing_faults(stage):
        stage.site.lab.fault(
            target="proxmox", method="POST", path="/lxc/9000/clone", error="delay", seconds=20, times=1
        )
        return expect_success(stage, stage.order(), seconds=stage.patience + 60)


def hang_request(stage: Stage) -> str:
    """Proxmox does not answer one request for 30 s."""
    with clearing_faults(stage):
        stage.site.lab.fault(target="proxmox", method="GET", path="/status/current", error="hang", seconds=30, times=1)
        return expect_success(stage, stage.order(), seconds=stage.patience + 30)


def cut_clone_answer(stage: Stage) -> str:
    """Proxmox accepts the clone, and the connection is cut before the answer. The clone is found, not made twice."""
    with clearing_faults(stage):
        stage.site.lab.fault(target="proxmox", method="POST", path="/lxc/9000/clone", error="drop", times=1)
        return expect_success(stage, stage.order())


def fail_clone_task(stage: Stage) -> str:
    """The clone's task fails at Proxmox. The order fails with that reason, and nothing is left."""
    with clearing_faults(stage):
        stage.site.lab.fault(target="proxmox", error="task", task="vzclone", message="no space left", times=1)
        return expect_failure(stage, stage.order())


def end_agent(stage: Stage) -> str:
    """The agent ends while it installs and does not come back. The order fails, and nothing is left."""
    with clearing_faults(stage):
        stage.site.lab.fault(target="agent", behaviour="die", times=1)
        return expect_failure(stage, stage.order(), seconds=stage.patience + FAILS_SECONDS)


def end_agent_for_a_moment(stage: Stage) -> str:
    """The agent ends while it installs and is back 3 s later, as if its container's init had started it again."""
    with clearing_faults(stage):
        stage.site.lab.fault(target="agent", behaviour="die", back=3, times=1)
        server = stage.order()
        operation = stage.finish(server, "succeeded", "failed", seconds=stage.patience + FAILS_SECONDS)
        stage.require_consistent(server)
        return f"{operation['status']}, attempt {operation['attempt']}"


def take_proxy_away(stage: Stage) -> str:
    """The proxy's API refuses connections for 5 s when a server is about to be registered."""
    server = stage.order()
    stage.phases.wait(server.operation_id, "wait-for-agent-terminal-state", seconds=REACH_SECONDS)
    stage.site.lab.take_proxy_away(5)
    return expect_success(stage, server)


def refuse_dns_requests(stage: Stage) -> str:
    """Each DNS provider in turn is unavailable for two requests."""
    with clearing_faults(stage):
        for provider in ("technitium", "cloudflare"):
            stage.site.lab.fault(target=provider, httpStatus=503, times=2)
        return expect_success(stage, stage.order())


def break_edge(code: str, *faults: dict[str, Any]) -> Callable[[Stage], str]:
    """The scenario in which a part of the edge fails for the order and its cleanup. What is left is retried later."""

    def run(stage: Stage) -> str:
        with clearing_faults(stage):
            for fault in faults:
                stage.site.lab.fault(**fault)
            server = stage.order()
            operation = stage.finish(server, "failed", seconds=stage.patience + FAILS_SECONDS)
        if operation["error"]["code"] != code:
            raise BrokenError(f"it failed with {operation['error']}")
        leaked = operation["cleanup"]["leaked"]
        if not leaked:
            raise BrokenError("its cleanup named nothing that was left, though it could not reach the edge")
        stage.require_consistent_in_the_end(server)
        return f"failed with {code}; left behind: {', '.join(leaked)}; gone afterwards"

    return run


def restart_proxy(stage: Stage) -> str:
    """The proxy restarts while a server is being registered: it forgets all, and knows the server in the end."""
    for server in [one for one in stage.servers if one.is_there]:
        stage.delete(server)  # the proxy forgets them, and nobody registers a server that is ready a second time
    with clearing_faults(stage):
        stage.site.lab.fault(target="velocity", path="/register", hang=2, times=1)
        server = stage.order()
        stage.phases.wait(server.operation_id, "publish-edge", seconds=REACH_SECONDS)
        stage.site.lab.restart_proxy()
        return expect_success(stage, server)


def occupy_next_vmid(stage: Stage) -> str:
    """Somebody makes a container on the VMID that the next order would get. It is left alone."""
    site, customer = stage.site, stage.site.customer()
    taken = _find_next_vmid(stage)
    site.lab.place_foreign(taken, "intruder")
    stage.before = _add_intruder(stage, taken)
    server = stage.order(customer)
    seen = expect_success(stage, server)
    if server.last["vmid"] == taken:
        raise BrokenError(f"the order was given {taken}, which is somebody else's")
    return f"{seen}, on another VMID"


def _find_next_vmid(stage: Stage) -> int:
    """The next free VMID after the highest one that was given to a game server."""
    there = {int(one["vmid"]) for one in stage.site.lab.inventory()["containers"]}
    given = [int(one["vmid"]) for server in stage.servers for one in server.told.values() if one["vmid"]]
    vmid = max((one for one in given if one < 6000), default=4999) + 1
    while vmid in there:
        vmid += 1
    return vmid


def _add_intruder(stage: Stage, vmid: int) -> Any:
    found = [one for one in stage.site.lab.inventory()["containers"] if one["vmid"] == vmid]
    return replace(stage.before, containers=[*stage.before.containers, *found])


@contextmanager
def clearing_faults(stage: Stage) -> Iterator[None]:
    """Clear all faults in the end, so that none outlives its scenario.

    Raises BrokenError when nothing met one of them, those of agents left out.
    """
    try:
        yield
        unmet = stage.site.lab.unmet_faults()
        if unmet:
            raise BrokenError(f"nothing met these faults, so nothing was tried: {unmet}")
    finally:
        stage.site.lab.clear_faults()


def expect_success(stage: Stage, server: Server, *, seconds: float | None = None) -> str:
    operation = stage.finish(server, "succeeded", seconds=seconds)
    stage.require_consistent(server)
    return f"succeeded, attempt {operation['attempt']}"


def expect_failure(stage: Stage, server: Server, *, seconds: float | None = None) -> str:
    operation = stage.finish(server, "failed", seconds=seconds)
    stage.require_consistent(server)
    return f"failed with {operation['error']['code']}"
