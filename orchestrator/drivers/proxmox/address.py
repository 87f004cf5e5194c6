"""Which of a container's addresses the world reaches it under."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.drivers.proxmox.client import Gone, Present, ProxmoxError, Unknown
from orchestrator.drivers.proxmox.failures import explain
from orchestrator.drivers.proxmox.session import Session
from orchestrator.drivers.result import PhaseError, waiting

Interfaces = Sequence[Mapping[str, Any]]


def wait_for_address(session: Session, interface: str, window: float) -> dict[str, Any]:
    """The address, or after `window` seconds that there is none yet."""
    until = time.monotonic() + window
    delay, seen = 0.1, "nothing"
    while True:
        reading = session.proxmox.interfaces(session.vmid)
        match reading:
            case Present(interfaces):
                found = choose(interfaces, interface)
                if found:
                    return _found(session, found)
                seen = describe(interfaces)
                if not interfaces:
                    _require_running(session)
            case Gone():
                raise _gone(session)
            case Unknown(error) if session.is_lasting(error):
                raise session.failed(error)
        if (left := until - time.monotonic()) <= 0:
            break
        time.sleep(min(delay, left))
        delay = min(1.3 * delay, 1.0)
    if isinstance(reading, Unknown):
        return _unanswered(session, reading.error)
    return _none_yet(session, interface, seen)


def choose(interfaces: Interfaces, interface: str) -> str | None:
    """The first global IPv4 address of the named interface. IPv6 does not count: containers are configured for IPv4."""
    if interface == "lo":
        return None
    named = [address for name, address in _addresses(interfaces) if name == interface]
    return next((str(address) for address in named if address.version == 4 and _is_usable(address)), None)


def describe(interfaces: Interfaces) -> str:
    """What is there, for the message: `lo 127.0.0.1, eth0 fe80::1`."""
    names = [str(entry.get("name", "?")) for entry in interfaces]
    pairs = [f"{name} {address}{_remark(address)}" for name, address in _addresses(interfaces)]
    bare = [name for name in names if not any(pair.startswith(f"{name} ") for pair in pairs)]
    return ", ".join([*pairs, *(f"{name} without address" for name in bare)]) or "no interface"


def _remark(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    counts = address.version == 4 or address.is_loopback or not _is_usable(address)
    return "" if counts else " (seen, but not IPv4)"


def _is_usable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # Loopback is told by the interface's name, not by the address: the lab's containers live in 127.0.0.0/8.
    return not (address.is_link_local or address.is_unspecified or address.is_multicast)


def _addresses(interfaces: Interfaces) -> Iterator[tuple[str, ipaddress.IPv4Address | ipaddress.IPv6Address]]:
    for entry in interfaces:
        listed = [item.get("ip-address") for item in entry.get("ip-addresses") or []]
        # Proxmox before 8 has only these two.
        texts = listed or [entry.get("inet"), entry.get("inet6")]
        for text in texts:
            if text:
                yield str(entry.get("name", "")), ipaddress.ip_interface(str(text).split("%")[0]).ip


def _require_running(session: Session) -> None:
    """An empty list also means stopped or missing, and then there is nothing to wait for."""
    match session.proxmox.status(session.vmid):
        case Gone():
            raise _gone(session)
        case Present(status) if not status.running:
            raise PhaseError(
                Code.IP_TIMEOUT,
                f"container {session.vmid} is {status.power}, so no address will come: try pct start --debug",
            )


def _gone(session: Session) -> PhaseError:
    return PhaseError(
        Code.PROXMOX_TASK_FAILED,
        f"container {session.vmid} does not exist on node {session.endpoint.node}: provision it first",
    )


def _found(session: Session, address: str) -> dict[str, Any]:
    text = f"container {session.vmid} has address {address}"
    return {"changed": False, "done": True, "vmid": session.vmid, "address": address, "progress": text}


def _none_yet(session: Session, interface: str, seen: str) -> dict[str, Any]:
    return waiting(
        Code.IP_TIMEOUT,
        f"container {session.vmid} got no IPv4 address on {interface} in time (there is {seen}): "
        f"check that DHCP answers on its bridge",
        progress=f"container {session.vmid} has no IPv4 address on {interface} yet",
        seen=seen,
    )


def _unanswered(session: Session, error: ProxmoxError) -> dict[str, Any]:
    failure = explain(error, f"container {session.vmid}", session.endpoint, session.timeout)
    return waiting(failure.code, failure.message, progress="Proxmox does not answer", **failure.detail)
