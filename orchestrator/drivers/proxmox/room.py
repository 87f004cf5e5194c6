"""Whether a task failed because its storage is full, which its text often does not say."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.drivers.proxmox.answers import Kind, Verb
from orchestrator.drivers.proxmox.client import Present, ProxmoxError
from orchestrator.drivers.proxmox.session import Session

LEAST_FREE_BYTES = 256 * 2**20
"""With less free space nothing can be started: logs and the game itself have nowhere to write."""


def judge(
    session: Session, error: ProxmoxError, needed: float, *, storage: str | None = None, vmid: int | None = None
) -> ProxmoxError:
    """The error of a task, as FULL when its text says nothing and the storage has less than `needed` bytes free.

    `storage` is by default that of the root disk of `vmid`, by default the session's container.
    """
    if (error.verb, error.kind) != (Verb.TASK, Kind.UNKNOWN):
        return error
    storage = storage or _storage_of_root_disk(session, session.vmid if vmid is None else vmid)
    free = session.proxmox.free_bytes(storage) if storage else None
    if free is None or free >= needed:
        return error
    text = f"{error.text}; {free // 2**20} MiB are free on storage {storage}"
    return replace(error, kind=Kind.FULL, text=text)


def _storage_of_root_disk(session: Session, vmid: int) -> str | None:
    match session.proxmox.config(vmid):
        case Present(config):
            return str(config.get("rootfs") or "").partition(":")[0] or None
    return None
