"""What the lab's Proxmox reports about containers, with the delays and gaps of a real one.

It differs from fakepve's reports: cluster/resources lags behind, interfaces shows a guest's address after a while, the
description in a configuration ends with a line feed, and a bridge that does not exist is noticed.
"""

import asyncio
import ipaddress
import re
import time
from typing import Any

from fakepve import PveError
from fakepve.lxc import split_props

from orchestrator.lab.proxmox.layout import BRIDGES
from orchestrator.lab.proxmox.tasks import PveTasks

RESOURCES_LAG = 10.0
"""Seconds between two rounds of the status daemon, at speed 1."""


class PveViews(PveTasks):
    """PveTasks whose reports lag and have gaps like those of a real Proxmox."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._broadcast: dict[int, dict[str, Any]] = {}
        self._status_daemon: asyncio.Task[None] | None = None
        self._unmarked: dict[int, float] = {}

    # cluster/resources

    def ct_resources(self, user: str, kind: str | None = None) -> list[dict[str, Any]]:
        """The containers as they were last broadcast; a newer one has neither name nor status yet."""
        current = super().ct_resources(user, kind)
        if not self.time_scale:
            return list(current)
        return [self._broadcast.get(item["vmid"]) or _without_status(item) for item in current]

    def start_status_daemon(self) -> None:
        """Start the rounds in which status, names and metrics become visible, or start them anew."""
        self.stop_status_daemon()
        self._status_daemon = asyncio.create_task(self._broadcast_in_rounds())

    def stop_status_daemon(self) -> None:
        if self._status_daemon is not None:
            self._status_daemon.cancel()
            self._status_daemon = None

    async def _broadcast_in_rounds(self) -> None:
        while True:
            self._broadcast = {item["vmid"]: item for item in super().ct_resources("root@pam")}
            if not self.time_scale:
                return
            await asyncio.sleep(RESOURCES_LAG * self.time_scale)

    # interfaces

    async def _lxc_interfaces(self, user: str, values: dict[str, Any]) -> list[dict[str, Any]] | None:
        container = self.ct(int(values["vmid"]))
        if container is None or container.status != "running":
            return None
        interfaces: list[dict[str, Any]] = await super()._lxc_interfaces(user, values)
        guest = self.guests.find(container.vmid)
        for item in interfaces:
            if guest is not None and guest.address is not None and self._uses_dhcp(container, item["name"]):
                _add_addresses(item, guest.address, self.guests.prefix)
        return interfaces

    @staticmethod
    def _uses_dhcp(container: Any, name: str) -> bool:
        nets = (split_props(value)[1] for key, value in container.config.items() if re.fullmatch(r"net\d+", key))
        return any(net.get("name", "eth0") == name and net.get("ip") == "dhcp" for net in nets)

    # config

    async def _lxc_config_get(self, user: str, values: dict[str, Any]) -> dict[str, Any]:
        config: dict[str, Any] = await super()._lxc_config_get(user, values)
        if time.monotonic() < self._unmarked.get(int(values["vmid"]), 0.0):
            return {name: config[name] for name in ("digest", "lock") if name in config}
        if config.get("description"):
            config["description"] = config["description"].rstrip("\n") + "\n"
        return config

    async def _lxc_config_put(self, user: str, values: dict[str, Any]) -> None:
        """Proxmox saves the change before it checks the bridges, so every later change fails too."""
        await super()._lxc_config_put(user, values)
        container = self._find_ct(values["node"], values["vmid"])
        if values.get("tags") and self.faults.find("case-sensitive-tags"):
            container.config["tags"] = ";".join(sorted(set(re.split(r"[;, ]+", values["tags"])) - {""}))
        for key, value in sorted(container.config.items()):
            bridge = split_props(value)[1].get("bridge") if re.fullmatch(r"net\d+", key) else None
            if bridge is not None and bridge not in BRIDGES:
                raise PveError(500, f"bridge '{bridge}' does not exist")

    async def _lxc_clone(self, user: str, values: dict[str, Any]) -> Any:
        """Proxmox writes the target's lock first, and a little later its description."""
        fault = self.faults.take("unmarked")
        if fault is not None:
            self._unmarked[int(values["newid"])] = time.monotonic() + fault["seconds"]
        return await super()._lxc_clone(user, values)

    # storage

    def _space(self, store: dict[str, Any]) -> tuple[int, int, int]:
        total, used, free = super()._space(store)
        return (total, total, 0) if self.faults.find("full") else (total, used, free)


def _without_status(item: dict[str, Any]) -> dict[str, Any]:
    return {"id": item["id"], "vmid": item["vmid"], "node": item["node"], "type": "lxc", "status": "unknown"}


def _add_addresses(item: dict[str, Any], address: str, prefix: int) -> None:
    """Add the link-local address first, so that a client that takes the first address is found out."""
    local = link_local(item["hwaddr"])
    item["inet"] = f"{address}/{prefix}"
    item["inet6"] = f"{local}/64"
    item["ip-addresses"] = [
        {"ip-address-type": "inet6", "ip-address": local, "prefix": "64"},
        {"ip-address-type": "inet", "ip-address": address, "prefix": str(prefix)},
    ]


def link_local(hwaddr: str) -> str:
    """The IPv6 link-local address that a kernel derives from a MAC address (modified EUI-64)."""
    octets = bytes.fromhex(hwaddr.replace(":", ""))
    identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + identifier))
