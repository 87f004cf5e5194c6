"""Give a container its cores, memory, network, name, tags and disk; leave everything else as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.drivers.proxmox import room
from orchestrator.drivers.proxmox.answers import Kind
from orchestrator.drivers.proxmox.client import ProxmoxError, split_tags
from orchestrator.drivers.proxmox.ownership import with_our_tags
from orchestrator.drivers.proxmox.session import Session

_SIZE = re.compile(r"(?:^|,)size=(\d+(?:\.\d+)?)([KMGT]?)")
_GIB = {"": 1 / 2**30, "K": 1 / 2**20, "M": 1 / 2**10, "G": 1.0, "T": 2.0**10}


@dataclass(frozen=True)
class Wanted:
    server_id: str
    hostname: str
    cores: int
    memory_mib: int
    bridge: str
    interface: str
    disk_gib: int = 0


def configure(session: Session, wanted: Wanted, *, check: bool) -> dict[str, Any]:
    """Raises PhaseError `not-ours`, `clone-locked`, …"""
    done: list[str] = []
    while True:
        config = session.owned_config(wanted.server_id)
        if config is None:
            return _missing(session, check=check)
        changes = differences(config, wanted)
        grow = wanted.disk_gib > disk_gib(config)
        names = sorted([*changes, *(["rootfs"] if grow else [])])
        if check and names:
            return {**session.result(f"container {session.vmid} would be configured"), "changed": True}
        if not names or (done and not grow):
            return _result(session, done)
        try:
            if not done:
                _apply(session, config, changes, wanted.disk_gib if grow else 0)
                done = names
            elif not session.rest():
                raise session.late("larger", f"as large as before ({disk_gib(config):g} GiB)")
        except ProxmoxError as error:
            missing = (wanted.disk_gib - disk_gib(config)) * 2**30
            session.pause(room.judge(session, _name_tags(error, changes), missing))


def _apply(session: Session, config: Mapping[str, Any], changes: Mapping[str, Any], grow_to: int | None) -> None:
    if changes:
        # With the digest, somebody else's change in between is refused instead of overwritten.
        session.send("put", f"lxc/{session.vmid}/config", digest=config.get("digest"), **changes)
    if grow_to:
        upid = session.send("put", f"lxc/{session.vmid}/resize", disk="rootfs", size=f"{grow_to}G")
        if upid:  # older Proxmox resizes within the request
            session.finish(upid)


def _name_tags(error: ProxmoxError, changes: Mapping[str, Any]) -> ProxmoxError:
    """Proxmox asks for Sys.Modify on / where a cluster restricts tags, whatever else would be enough."""
    if error.privilege == "/, Sys.Modify" and "tags" in changes:
        return replace(error, detail={**error.detail, "tags": changes["tags"]})
    return error


def _missing(session: Session, *, check: bool) -> dict[str, Any]:
    if not check:
        raise session.failed(ProxmoxError(Kind.MISSING, "no such container"))
    return {**session.result(f"container {session.vmid} would be configured"), "changed": True}


def _result(session: Session, names: list[str]) -> dict[str, Any]:
    what = f"configured ({', '.join(names)})" if names else "configured as wanted"
    return session.result(f"container {session.vmid} {what}", options=names)


def differences(config: Mapping[str, Any], wanted: Wanted) -> dict[str, Any]:
    """The options whose value is not the wanted one, with the value to set."""
    net = wanted_net(str(config.get("net0") or ""), wanted)
    tags = with_our_tags(config.get("tags"), wanted.server_id)
    target: dict[str, Any] = {
        "hostname": wanted.hostname,
        "cores": wanted.cores,
        "memory": wanted.memory_mib,
        "tags": tags,
        "net0": net,
    }
    same = {
        "tags": set(split_tags(config.get("tags"))) == set(split_tags(tags)),
        "net0": properties(str(config.get("net0") or "")) == properties(net),
    }
    return {
        name: value for name, value in target.items() if not same.get(name, str(config.get(name, "")) == str(value))
    }


def wanted_net(current: str, wanted: Wanted) -> str:
    """net0 with our bridge, name and DHCP. Its hwaddr stays: without one Proxmox makes a new one."""
    ours = {"name": wanted.interface, "bridge": wanted.bridge, "ip": "dhcp"}
    # A clone copies a static address with its gateway, and the gateway means nothing with DHCP.
    kept = {name: value for name, value in properties(current).items() if name not in (*ours, "gw", "type")}
    rest = {**ours, **kept}
    return ",".join(f"{name}={rest[name]}" for name in ["name", *sorted(rest.keys() - {"name"})])


def properties(text: str) -> dict[str, str]:
    """A net property string without order and without the type that Proxmox appends."""
    pairs = (part.split("=", 1) for part in text.split(",") if "=" in part)
    return {name.strip(): value.strip() for name, value in pairs if name.strip() != "type"}


def disk_gib(config: Mapping[str, Any]) -> float:
    found = _SIZE.search(str(config.get("rootfs") or ""))
    return float(found.group(1)) * _GIB[found.group(2)] if found else 0.0
