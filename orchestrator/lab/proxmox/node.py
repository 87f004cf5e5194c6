"""The lab's Proxmox: one node of fakepve with real guests and real delays, and the gaps filled that clients meet."""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from fakepve import FakeCt

from orchestrator.lab.errors import InputError
from orchestrator.lab.guests.driver import GuestDriver
from orchestrator.lab.history import History
from orchestrator.lab.proxmox.faults import CONDITIONS, REQUEST_ERRORS, TASK_ERRORS, require_text
from orchestrator.lab.proxmox.http import DaemonBehaviour
from orchestrator.lab.proxmox.layout import NODE, PVE_USER, TEMPLATE, TOKEN_ID
from orchestrator.lab.proxmox.privileges import PRIVILEGES, STORAGE
from orchestrator.lab.proxmox.saved import ContainersFile
from orchestrator.lab.proxmox.views import PveViews
from orchestrator.lab.servers.http import HttpService

# Durations in seconds at speed 1.
CLONE_SECONDS = 2.0
DESTROY_SECONDS = 0.3
BOOT_SECONDS = 0.5


class LabProxmox(PveViews):
    """One node, one template, two bridges. Everything it keeps lies below `root`.

    `speed` multiplies every duration (0: none); `token` is the secret of the token TOKEN_ID.
    """

    port: int

    def __init__(
        self,
        *,
        host: str,
        port: int,
        root: Path,
        guests: GuestDriver,
        speed: float,
        token: str,
        history: History,
    ) -> None:
        super().__init__(host=host, port=port)
        self._saved = ContainersFile(root / "containers.json")
        self._agent_faults: list[Mapping[str, Any]] = []
        self._last_fault = 0
        self._leaving = False
        self.history = history
        self._daemon: HttpService | None = None
        self.guests = guests
        self.apitokens[TOKEN_ID] = token
        for path, privileges in PRIVILEGES.items():
            self.grant(PVE_USER, path, *privileges)
        self.ct_secs.update(clone=CLONE_SECONDS, destroy=DESTROY_SECONDS)
        self.time_scale = speed

    # from the start to the end

    async def restore(self) -> None:
        """Bring back the template and the containers of an earlier run; those that were running are started."""
        for container, address in self._saved.read():
            if container.lock == "create":  # its clone ended with the earlier run
                self.guests.remove(container.vmid)
                continue
            container.lock = None
            self.cts.append(container)
            if address:
                self.guests.leases[container.vmid] = address
        if self.ct(TEMPLATE) is None:
            self.cts.append(_make_template())
        await self.guests.open(TEMPLATE, self._note_halt)
        await asyncio.gather(*(self._follow(container) for container in self.cts))
        self.save()

    async def start(self, tls: ssl.SSLContext) -> None:
        """Listen on https://host:port. Raises LabError when that is taken."""
        self._daemon = HttpService(self._build_app, self.host, self.port, tls)
        await self._daemon.start()
        self.port = self._daemon.port
        self.start_status_daemon()

    async def restart(self, seconds: float) -> None:
        """Take the daemon away for `seconds`. Tasks and guests live on."""
        if self._daemon is not None:
            await self._daemon.go_away(seconds)

    async def close(self) -> None:
        """Stop serving, end the tasks and kill every guest. The containers stay on disk as they are."""
        self.stop_status_daemon()
        if self._daemon is not None:
            await self._daemon.close()
        await self.abort_all_tasks()
        self.save()
        self._leaving = True
        await self.guests.close()

    def save(self) -> None:
        if not self._leaving:
            self._saved.write(self.cts, self.guests.leases)

    def _build_app(self) -> web.Application:
        app: web.Application = super()._build_app()
        behaviour = DaemonBehaviour(self.faults, self.history, lambda: self.time_scale, self.save)
        app.middlewares.insert(0, behaviour.make_middleware())
        return app

    async def _start_steps(self, ct: Any, user: str, skiplock: bool = False) -> None:
        ct.start_secs = BOOT_SECONDS
        await super()._start_steps(ct, user, skiplock)

    # for the control API

    def containers(self) -> list[dict[str, Any]]:
        return [self._describe(container) for container in self.cts]

    def _describe(self, container: Any) -> dict[str, Any]:
        guest = self.guests.find(container.vmid)
        return {
            "vmid": container.vmid,
            "hostname": container.name,
            "status": container.status,
            "lock": container.lock,
            "template": container.template,
            "description": container.config.get("description", ""),
            "tags": container.config.get("tags", ""),
            "address": guest.address if guest is not None else None,
            "pid": guest.pid if guest is not None and guest.alive else None,
        }

    def processes(self) -> list[dict[str, Any]]:
        return [{"pid": guest.pid, "vmid": guest.vmid, "kind": "agent"} for guest in self.guests.all() if guest.pid]

    def place_foreign(self, vmid: int, hostname: str) -> None:
        """Make a stopped container as somebody else would. Raises ValueError when the VMID is taken."""
        net = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:0F:0F:0F,ip=dhcp,type=veth"
        self.add_ct(vmid, hostname, node=NODE, config={"net0": net})
        self.guests.clone(TEMPLATE, vmid)
        self.history.add("control", action="foreign", vmid=vmid)
        self.save()

    def set_speed(self, speed: float) -> None:
        """Multiply the durations of everything that begins from now on."""
        self.time_scale = self.guests.speed = speed
        self.start_status_daemon()

    def inject(self, fault: dict[str, Any]) -> None:
        """Inject a fault of Proxmox or of the agents. Raises InputError for one that makes no sense.

        docs/lab.md describes the faults of Proxmox, and agent/README.md the behaviours of an agent."""
        if "method" in fault:
            fault = {**fault, "method": str(fault["method"]).upper()}
        if fault["target"] == "agent":
            self._inject_into_agents(fault)
        elif fault.get("error") in TASK_ERRORS:
            self.faults.inject_into_tasks(fault)
        elif fault.get("error") in CONDITIONS:
            self.faults.inject_condition(fault)
        elif fault.get("error") in REQUEST_ERRORS:
            self.faults.inject_into_requests(fault)
        else:
            self._inject_named_error(fault)

    def _inject_into_agents(self, fault: dict[str, Any]) -> None:
        self._last_fault += 1
        numbered = {"id": self._last_fault, "vmid": None, "times": None, **fault}
        self._agent_faults = [*self._agent_faults, numbered]
        self.guests.set_faults(self._agent_faults)

    def _inject_named_error(self, fault: dict[str, Any]) -> None:
        """Inject an error of fakepve's own catalogue."""
        require_text(fault, "method", "path")
        try:
            self.fail(fault["method"], fault["path"], error=fault["error"], times=fault.get("times"))
        except (ValueError, TypeError) as error:
            raise InputError("error", str(error)) from error

    def unmet_faults(self) -> list[dict[str, Any]]:
        return self.faults.unmet()

    def clear_faults(self) -> None:
        self.failures.clear()
        self.faults.clear()
        self._agent_faults = []
        self.guests.set_faults([])


def _make_template() -> Any:
    config = {
        "rootfs": f"{STORAGE}:base-{TEMPLATE}-disk-0,size=8G",
        "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:90:00:00,ip=dhcp,type=veth",
        "cores": 1,
        "ostype": "debian",
    }
    return FakeCt(TEMPLATE, "hostwright-template", node=NODE, config=config, template=True)
