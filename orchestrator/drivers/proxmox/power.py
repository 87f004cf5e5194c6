"""Start and stop a container."""

from __future__ import annotations

from typing import Any

from orchestrator.drivers.proxmox.client import Kind, ProxmoxError
from orchestrator.drivers.proxmox.session import Session


def start(session: Session, server_id: str, *, check: bool) -> dict[str, Any]:
    """Raises PhaseError `not-ours`, `proxmox-task-failed`, …"""
    while True:
        status = session.owned_status(server_id)
        if status is None and not check:
            # Proxmox itself would accept the request and fail in the task.
            raise session.failed(ProxmoxError(Kind.MISSING, "no such container"))
        if status is not None and status.running:
            return session.result(f"container {session.vmid} is running")
        if check:
            return {**session.result(f"container {session.vmid} would be started"), "changed": True}
        try:
            session.finish(session.send("post", f"lxc/{session.vmid}/status/start"))
            return session.result(f"container {session.vmid} started")
        except ProxmoxError as error:
            session.pause(error)


def stop(session: Session, server_id: str, grace: int, *, check: bool) -> dict[str, Any]:
    """Asks the container to shut down and after `grace` seconds stops it. Missing and stopped are fine."""
    while True:
        status = session.owned_status(server_id)
        if status is None:
            session.require_gone()
            return session.result(f"container {session.vmid} does not exist")
        if not status.running:
            return session.result(f"container {session.vmid} is stopped")
        if check:
            return {**session.result(f"container {session.vmid} would be stopped"), "changed": True}
        try:
            session.finish(_shut_down(session, grace))
            return session.result(f"container {session.vmid} stopped")
        except ProxmoxError as error:
            session.pause(error)


def _shut_down(session: Session, grace: int) -> str:
    # With forceStop Proxmox itself stops what is left after the time, also if we are gone by then.
    patience = min(grace, max(1, int(session.left / 2)))
    upid: str = session.send("post", f"lxc/{session.vmid}/status/shutdown", timeout=patience, forceStop=1)
    return upid
