"""Delete a container of ours, or abort the clone that makes it, and prove that it is gone."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.drivers.proxmox.client import ProxmoxError
from orchestrator.drivers.proxmox.ownership import is_ours
from orchestrator.drivers.proxmox.session import Session
from orchestrator.drivers.result import PhaseError


def delete(session: Session, server_id: str, clone_upid: str = "", *, check: bool) -> dict[str, Any]:
    """`clone_upid` is the task of a clone that may still run, and the only one that is ever aborted.

    Raises PhaseError `not-ours`, `proxmox-task-failed` (running, protected), `clone-locked`, …
    """
    config = session.owned_config(server_id)
    through = False
    # Once ours is gone, the VMID is free, and somebody else's container may have taken it.
    while config is not None and is_ours(config, server_id):
        if check:
            return {**session.result(f"container {session.vmid} would be deleted"), "changed": True}
        try:
            if through:
                _rest(session)
            elif config.get("lock") != "create" or not _abort(session, clone_upid):
                session.finish(_send(session))
                through = True
        except ProxmoxError as error:
            session.pause(error)
        config = session.marked_config()
    if config is None and not through:
        # What our own task deleted is gone; what we only miss may have moved to another node.
        session.require_gone()
    return session.result(f"container {session.vmid} is gone")


def _abort(session: Session, upid: str) -> bool:
    """Abort the clone and wait until it has cleaned up after itself; False when `upid` is no clone that runs."""
    task = session.task(upid) if upid else None
    if task is None or (task.get("type"), task.get("status")) != ("vzclone", "running"):
        return False
    session.send("delete", f"tasks/{upid}")
    session.ended(upid)
    return True


def _send(session: Session) -> str:
    upid: str = session.send("delete", f"lxc/{session.vmid}", purge=1, **{"destroy-unreferenced-disks": 1})
    return upid


def _rest(session: Session) -> None:
    """After a task that went well; the node may be a little behind it."""
    if session.rest():
        return
    raise PhaseError(
        Code.PROXMOX_TASK_FAILED,
        f"Proxmox says that container {session.vmid} was deleted, and it is still there: see the task's log",
        changed=True,
        upid=session.upid,
    )
