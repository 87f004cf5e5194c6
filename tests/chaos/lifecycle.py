"""Scenarios of what comes after an order: a stop, a start, a kept machine or its retry fails, or is put off."""

import time
from typing import Any
from uuid import uuid4

from psycopg import sql

from tests.chaos.customer import GAME, BrokenError, Server
from tests.chaos.holds import REACH_SECONDS
from tests.chaos.outside import FAILS_SECONDS, clearing_faults, expect_success
from tests.chaos.stage import Stage

LATER_SECONDS = 12
"""Longer than the phase may take in these rows, so that the publish is put off."""
AWAY = "RPCEnvironment init request failed: Unable to load access control list: Connection refused"
"""Proxmox's words while the cluster's file system is away."""
REFUSED = {"status": 403, "message": "Permission check failed (/vms, VM.PowerMgmt)"}


def fail_stop(stage: Stage) -> str:
    """Proxmox refuses to stop a ready server. It is shown as stopping, is stopped by itself later, and starts again."""
    server = stage.ready()
    with clearing_faults(stage):
        stage.site.lab.fault(target="proxmox", method="POST", path="/lxc/*/status/shutdown", **REFUSED)
        server.customer.act(server, "stop")
        stage.finish(server, "failed", seconds=stage.patience + FAILS_SECONDS)
        _wait_for_status(stage, server, "stopping")
    _wait_for_status(stage, server, "stopped")
    server.customer.act(server, "start")
    return f"stopped by itself afterwards; start {expect_success(stage, server)}"


def fail_start(stage: Stage) -> str:
    """Proxmox refuses to start a stopped server. It is stopped as before, nobody is sent to it, and it starts later."""
    server = stage.ready()
    server.customer.act(server, "stop")
    stage.finish(server, "succeeded")
    with clearing_faults(stage):
        stage.site.lab.fault(target="proxmox", method="POST", path="/lxc/*/status/start", **REFUSED)
        server.customer.act(server, "start")
        operation = stage.finish(server, "failed", seconds=stage.patience + FAILS_SECONDS)
    _wait_for_status(stage, server, "stopped")
    if _published(stage, operation["hostname"]):
        raise BrokenError(f"players are sent to {operation['hostname']}, which does not run")
    server.customer.act(server, "start")
    return f"failed with {operation['error']['code']}, stopped; again: {expect_success(stage, server)}"


def fail_retry(stage: Stage) -> str:
    """A kept machine fails again in its retry, and is kept. The next retry makes it ready, with the same VMID."""
    with clearing_faults(stage):
        stage.site.lab.fault(target="velocity", path="/register", httpStatus=400)
        server = stage.order(body={**GAME, "onFailure": "keep"})
        first = stage.finish(server, "failed", seconds=stage.patience + FAILS_SECONDS)
        server.customer.retry(server)
        second = stage.finish(server, "failed", seconds=stage.patience + FAILS_SECONDS)
        _wait_for_status(stage, server, "quarantined")
    server.customer.retry(server)
    seen = expect_success(stage, server)
    vmids = {one["vmid"] for one in server.told.values()}
    if len(vmids) != 1:
        raise BrokenError(f"the retries had VMIDs {vmids}")
    return f"{first['error']['code']}, {second['error']['code']}, then {seen}"


def keep_what_is_published(stage: Stage) -> str:
    """A kept machine cannot be taken off the proxy. It is taken off later, and the machine stays until its deletion."""
    with clearing_faults(stage):
        stage.site.lab.fault(target="velocity", path="/status", httpStatus=500)
        server = stage.order(body={**GAME, "onFailure": "keep"})
        operation = stage.finish(server, "failed", seconds=stage.patience + FAILS_SECONDS)
    deadline = time.monotonic() + stage.patience
    while _published(stage, operation["hostname"]):
        if time.monotonic() > deadline:
            raise BrokenError(f"{operation['hostname']} is still published")
        time.sleep(0.5)
    _wait_for_status(stage, server, "quarantined")
    stage.delete(server)
    stage.require_consistent(server)
    return f"failed with {operation['error']['code']}, unpublished by itself, deleted on request"


def put_publish_off(stage: Stage) -> str:
    """A name service wants no request for longer than the phase may take. The machine is kept, and published later."""
    with clearing_faults(stage):
        limited = {"httpStatus": 429, "code": 971, "message": "Slow down", "retryAfter": LATER_SECONDS}
        stage.site.lab.fault(target="cloudflare", times=1, **limited)
        server = stage.order()
        operation = stage.finish(server, "succeeded", seconds=stage.patience + LATER_SECONDS)
    stage.require_consistent(server)
    if operation["attempt"] != 2:
        raise BrokenError(f"it was not put off: attempt {operation['attempt']}")
    return "put off, then succeeded"


def restart_proxy_between_orders(stage: Stage) -> str:
    """The proxy restarts and forgets a ready server. The next order succeeds, and a start publishes the first again."""
    first = stage.ready()
    for server in [one for one in stage.servers if one.is_there and one is not first]:
        stage.delete(server)  # the proxy forgets them, and only a start registers a ready server a second time
    stage.site.lab.restart_proxy()
    second = stage.order()
    stage.finish(second, "succeeded")
    first.customer.act(first, "start")
    stage.finish(first, "succeeded")
    stage.require_consistent(second)
    return f"the next order succeeded; the first server is back: {expect_success(stage, first)}"


def take_cluster_file_system_away(stage: Stage) -> str:
    """The cluster's file system is away for a while: Proxmox refuses tokens that are right, and cannot write."""
    missing = "unable to open file '/etc/pve/nodes/pve1/lxc/5000.conf.tmp.1' - No such file or directory"
    with clearing_faults(stage):
        server = stage.order()
        stage.phases.wait(server.operation_id, "clone-container", seconds=REACH_SECONDS)
        lab = stage.site.lab
        lab.fault(target="proxmox", status=401, message="Authentication failed!", times=2)
        lab.fault(target="proxmox", status=500, message=AWAY, times=3)
        for method in ("PUT", "POST"):
            lab.fault(target="proxmox", method=method, status=500, message=missing, times=2)
        return expect_success(stage, server)


def pass_newer_rows_over(stage: Stage) -> str:
    """A newer release has written an operation of a kind that this one does not know. All others go on."""
    newer = stage.ready()
    operation_id = str(uuid4())
    _execute(
        stage,
        "insert into operation (id, instance_id, customer_id, kind, ctype, spec, request_id, request_hash) "
        "select {id}, id, customer_id, 'reboot', ctype, spec, gen_random_uuid(), '' from instance where id = {server}",
        id=operation_id,
        server=newer.server_id,
    )
    seen = expect_success(stage, stage.order())
    waits = stage.site.operator().show(operation_id)
    if (waits["status"], waits["attempt"]) != ("queued", 0):
        raise BrokenError(f"the newer operation was touched: {waits['status']}, attempt {waits['attempt']}")
    _execute(stage, "delete from operation where id = {id}", id=operation_id)
    stage.require_consistent(newer)
    return f"the next order {seen}; the newer operation waits"


def _execute(stage: Stage, statement: Any, **values: str) -> None:
    text = sql.SQL(statement).format(**{name: sql.Literal(value) for name, value in values.items()})
    with stage.site.database.transaction() as connection:
        connection.execute(text)


def _wait_for_status(stage: Stage, server: Server, status: str) -> None:
    deadline, seen = time.monotonic() + stage.patience, ""
    while time.monotonic() < deadline:
        seen = server.customer.see(server)["status"]
        if seen == status:
            return
        time.sleep(0.2)
    raise BrokenError(f"server {server.server_id} is {seen}, and not {status}")


def _published(stage: Stage, hostname: str) -> bool:
    found = stage.site.lab.inventory()
    names = [str(one["name"]) for one in (*found["records"], *found["registrations"])]
    return any(hostname in name for name in names)
