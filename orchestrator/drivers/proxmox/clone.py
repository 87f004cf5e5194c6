"""Clone a template into a VMID. The clone is the reservation of the VMID, and its description is our mark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.drivers.proxmox import room
from orchestrator.drivers.proxmox.answers import Kind, Verb
from orchestrator.drivers.proxmox.client import Present, ProxmoxError
from orchestrator.drivers.proxmox.configure import disk_gib
from orchestrator.drivers.proxmox.ownership import description, is_ours, mark_of
from orchestrator.drivers.proxmox.session import Session
from orchestrator.drivers.result import PhaseError


@dataclass(frozen=True)
class Order:
    template: int
    hostname: str
    server_id: str
    operation_id: str
    full: bool = True
    storage: str | None = None
    pool: str | None = None


def begin(session: Session, order: Order, *, check: bool) -> dict[str, Any]:
    """Have Proxmox accept the clone; returns at once, with `pending` when a clone of ours runs.

    `clone_upid` names the one that was begun here, so that it can be aborted. Raises PhaseError `vmid-taken`,
    `template-missing`, `clone-locked`, …
    """
    while True:
        if (config := session.marked_config()) is not None:
            _require_ours(config, session.vmid, order.server_id)
            # A clone of ours may still run: of an attempt that died, or one whose answer got lost.
            pending = config.get("lock") == "create"
            return _begun(session, "is being cloned already" if pending else "is there", pending=pending)
        if check:
            return _foresee(session, order)
        try:
            upid = _send(session, order)
        except ProxmoxError as error:
            _consider(session, order, error)
        else:
            return _begun(session, f"is being cloned from {order.template}", pending=True, upid=upid)


def clone(session: Session, order: Order, *, check: bool, upid: str = "") -> dict[str, Any]:
    """Clone to the end; `upid` is of the clone that was begun before.

    Raises PhaseError as `begin`, `storage-full`, `deadline-exceeded`, …
    """
    while True:
        if not upid:
            begun = begin(session, order, check=check)
            if not begun["pending"]:
                return begun
            upid = begun["clone_upid"]
        try:
            _await(session, upid)
            if upid:
                _await_container(session, order)
                return session.result(f"container {session.vmid} cloned from {order.template}")
        except ProxmoxError as error:
            _consider(session, order, error)
        upid = ""


def _await(session: Session, upid: str) -> None:
    """A clone without a name is looked at again a little later."""
    if upid:
        session.finish(upid)
    else:
        session.pause(ProxmoxError(Kind.LOCKED, "CT is locked (create)"))


def _await_container(session: Session, order: Order) -> None:
    while (config := session.marked_config()) is None or config.get("lock") == "create":
        if not session.rest():
            raise session.late("complete", "missing" if config is None else "still being cloned")
    _require_ours(config, session.vmid, order.server_id)


def _begun(session: Session, what: str, *, pending: bool, upid: str = "") -> dict[str, Any]:
    progress = f"container {session.vmid} {what}"
    return session.result(progress, pending=pending, clone_upid=upid, waited=round(session.waited, 3))


def _send(session: Session, order: Order) -> str:
    upid: str = session.send(
        "post",
        f"lxc/{order.template}/clone",
        newid=session.vmid,
        hostname=order.hostname,
        description=description(order.server_id, order.operation_id),
        full=int(order.full),
        storage=order.storage,
        pool=order.pool,
    )
    return upid


def _consider(session: Session, order: Order, error: ProxmoxError) -> None:
    """Returns when another look may help."""
    match error.kind:
        case Kind.MISSING:
            raise _no_template(session, order)
        case Kind.TAKEN:
            # A container with our mark is our own clone after all; a virtual machine or one elsewhere is not.
            if session.config() is None:
                raise _taken(session.vmid, error.text, elsewhere=True)
        case _:
            session.pause(_judge_room(session, order, error), f"template {order.template}")


def _judge_room(session: Session, order: Order, error: ProxmoxError) -> ProxmoxError:
    """A clone that failed has given its space back, so the whole disk is what must be free."""
    template = session.proxmox.config(order.template) if order.full and error.verb is Verb.TASK else None
    size = disk_gib(template.value) * 2**30 if isinstance(template, Present) else 0
    needed = max(size, room.LEAST_FREE_BYTES)
    return room.judge(session, error, needed, storage=order.storage, vmid=order.template)


def _foresee(session: Session, order: Order) -> dict[str, Any]:
    if session.config(order.template) is None:
        raise _no_template(session, order)
    return {**_begun(session, "would be cloned", pending=False), "changed": True}


def _require_ours(config: dict[str, Any], vmid: int, server_id: str) -> None:
    if not is_ours(config, server_id):
        raise _taken(vmid, f"it carries {mark_of(config)}")


def _taken(vmid: int, why: str, *, elsewhere: bool = False) -> PhaseError:
    """`elsewhere`: it is no container of this node, so whose it is cannot be told from here."""
    return PhaseError(
        Code.VMID_TAKEN,
        f"VMID {vmid} belongs to a machine that is not ours ({why}): choose another VMID",
        vmid=vmid,
        elsewhere=elsewhere,
    )


def _no_template(session: Session, order: Order) -> PhaseError:
    return PhaseError(
        Code.TEMPLATE_MISSING,
        f"template {order.template} does not exist on node {session.endpoint.node}: "
        f"create it there, or correct hostwright_templates",
        template=order.template,
    )
