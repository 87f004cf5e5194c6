"""Start and stop a container."""

from __future__ import annotations

from typing import Any

from orchestrator.drivers.proxmox import room
from orchestrator.drivers.proxmox.answers import Kind
from orchestrator.drivers.proxmox.client import ProxmoxError
from orchestrator.drivers.proxmox.session import Session


def start(session: Session, server_id: str, *, check: bool) -> dict[str, Any]:
    """Raises PhaseError `not-ours`, `storage-full`, `proxmox-task-failed`, …"""
    done = False
    while True:
        status = session.owned_status(server_id)
        if status is None and not check:
            # Proxmox itself would accept the request and fail in the task.
            raise session.failed(ProxmoxError(Kind.MISSING, "no such container"))
        if status is not None and status.running:
            return session.result(f"container {session.vmid} {'started' if done else 'is running'}")
        if check:
            return {**session.result(f"container {session.vmid} would be started"), "changed": True}
        try:
            # A task that went well is not sent again: the node's own manager may act later.
            if not done:
                session.finish(session.send("post", f"lxc/{session.vmid}/status/start"))
                done = True
            elif not session.rest():
                raise session.late("running", status.power if status else "unknown")
        except ProxmoxError as error:
            session.pause(room.judge(session, error, room.LEAST_FREE_BYTES))


def stop(session: Session, server_id: str, grace: int, *, check: bool) -> dict[str, Any]:
    """Asks the container to shut down and after `grace` seconds stops it. Missing and stopped are fine."""
    done = False
    while True:
        status = session.owned_status(server_id)
        if status is None:
            session.require_gone()
            return session.result(f"container {session.vmid} does not exist")
        if not status.running:
            return session.result(f"container {session.vmid} {'stopped' if done else 'is stopped'}")
        if check:
            return {**session.result(f"container {session.vmid} would be stopped"), "changed": True}
        try:
            if not done:
                session.finish(_shut_down(session, grace))
                done = True
            elif not session.rest():
                raise session.late("stopped", status.power)
        except ProxmoxError as error:
            session.pause(error)


def _shut_down(session: Session, grace: int) -> str:
    # With forceStop Proxmox itself stops what is left after the time, also if we are gone by then.
    patience = min(grace, max(1, int(session.left / 2)))
    upid: str = session.send("post", f"lxc/{session.vmid}/status/shutdown", timeout=patience, forceStop=1)
    return upid
