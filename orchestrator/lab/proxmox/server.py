"""The lab's Proxmox: fakepve with real guests, real delays and the gaps filled that clients stumble over."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from fakepve import FakeCt

from orchestrator.lab.errors import InputError, LabError
from orchestrator.lab.guests.driver import GuestDriver
from orchestrator.lab.history import History
from orchestrator.lab.listen import HttpService
from orchestrator.lab.proxmox.http import HttpFaults, Manners
from orchestrator.lab.proxmox.privileges import PRIVILEGES, STORAGE
from orchestrator.lab.proxmox.views import PveViews

NODE = "pve1"
TOKEN_ID = "hostwright@pve!lab"  # noqa: S105 - the token's name, not its secret
TEMPLATE = 9000

# Durations in seconds at speed 1.
CLONE_SECONDS = 2.0
DESTROY_SECONDS = 0.3
BOOT_SECONDS = 0.5
SAVED = ("vmid", "node", "status", "config", "pending", "snapshots")


class LabProxmox(PveViews):
    """One node, one template (9000), two bridges. Everything it keeps lies below `root`.

    `speed` multiplies every duration (0: none); `token` is the secret of hostwright@pve!lab.
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
        self._file = root / "containers.json"
        self._saved = ""
        self._http_faults = HttpFaults()
        self._agent_faults: list[Mapping[str, Any]] = []
        self._fault_number = 0
        self._closing = False
        self.history = history
        self._daemon: HttpService | None = None
        self.guests = guests
        self.apitokens[TOKEN_ID] = token
        for path, privileges in PRIVILEGES.items():
            self.grant(TOKEN_ID.partition("!")[0], path, *privileges)
        self.ct_secs.update(clone=CLONE_SECONDS, destroy=DESTROY_SECONDS)
        self.time_scale = speed

    # lifecycle

    async def restore(self) -> None:
        """Bring back the containers of an earlier run, the running ones started, and the template."""
        self._load()
        if self.ct(TEMPLATE) is None:
            self.cts.append(_template())
        await self.guests.open(TEMPLATE, self._guest_halted)
        await asyncio.gather(*(self._follow(container) for container in self.cts))
        self.save()

    async def start(self, certfile: str, keyfile: str) -> None:
        """Listen on https://host:port. Raises LabError when that is taken."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certfile, keyfile)
        self._daemon = HttpService(self._build_app, self.host, self.port, context)
        await self._daemon.start()
        self.port = self._daemon.port
        self.start_status_daemon()

    async def restart(self, seconds: float) -> None:
        """The daemon is away for so many seconds; tasks and guests live on."""
        if self._daemon is not None:
            await self._daemon.leave(seconds)

    async def close(self) -> None:
        """Stop serving, end what runs, kill every guest; the containers stay on disk as they are."""
        self.stop_status_daemon()
        if self._daemon is not None:
            await self._daemon.close()
        await self.abort_all_tasks()
        self.save()
        self._closing = True
        await self.guests.close()

    def _build_app(self) -> web.Application:
        app: web.Application = super()._build_app()
        manners = Manners(self._http_faults, self.history, lambda: self.time_scale, self.save)
        app.middlewares.insert(0, manners.middleware())
        return app

    async def _start_steps(self, ct: Any, user: str, skiplock: bool = False) -> None:
        ct.start_secs = BOOT_SECONDS
        await super()._start_steps(ct, user, skiplock)

    # state on disk

    def save(self) -> None:
        state = [
            {name: getattr(container, name) for name in SAVED} | {"address": self.guests.leases.get(container.vmid)}
            for container in self.cts
        ]
        text = json.dumps(state, indent=1)
        if text == self._saved or self._closing:
            return
        partial = self._file.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(self._file)
        self._saved = text

    def _load(self) -> None:
        try:
            saved = json.loads(self._file.read_text())
        except FileNotFoundError:
            return
        except ValueError as error:
            raise LabError(f"{self._file} is damaged ({error}): delete it to start afresh") from error
        for item in saved:
            container = FakeCt(
                item["vmid"], node=item["node"], status=item["status"], config=item["config"],
                pending=item["pending"], defaults=False,
            )  # fmt: skip
            container.snapshots = item["snapshots"]
            if container.lock == "create":  # its clone ended with the last run
                self.guests.remove(container.vmid)
                continue
            container.lock = None
            self.cts.append(container)
            if item["address"]:
                self.guests.leases[container.vmid] = item["address"]

    # for the control API

    def containers(self) -> list[dict[str, Any]]:
        return [self._describe(container) for container in self.cts]

    def _describe(self, container: Any) -> dict[str, Any]:
        guest = self.guests.find(container.vmid)
        running = guest is not None and guest.alive
        return {
            "vmid": container.vmid,
            "hostname": container.name,
            "status": container.status,
            "lock": container.lock,
            "template": container.template,
            "description": container.config.get("description", ""),
            "tags": container.config.get("tags", ""),
            "address": guest.address if guest is not None else None,
            "pid": guest.pid if guest is not None and running else None,
        }

    def processes(self) -> list[dict[str, Any]]:
        return [{"pid": guest.pid, "vmid": guest.vmid, "kind": "agent"} for guest in self.guests.all() if guest.pid]

    def place_foreign(self, vmid: int, hostname: str) -> None:
        """A stopped container that somebody else made. Raises ValueError when the VMID is taken."""
        net = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:0F:0F:0F,ip=dhcp,type=veth"
        self.add_ct(vmid, hostname, node=NODE, config={"net0": net})
        self.guests.clone(TEMPLATE, vmid)
        self.history.add("control", action="foreign", vmid=vmid)
        self.save()

    def set_speed(self, speed: float) -> None:
        """What starts from now on takes `speed` times its duration."""
        self.time_scale = self.guests.speed = speed
        self.start_status_daemon()

    def inject(self, fault: dict[str, Any]) -> None:
        """Arm a fault. Raises InputError for one that makes no sense.

        agent: {"behaviour", "vmid"?, "times"?, …}: the agents' README says what each behaviour takes.
        proxmox: {"method"?, "path"? (how it ends, `*` for anything), "times"?} with {"status", "message"}, or with
        "error": "hang" ("seconds"?), "delay" ("seconds": carried out later, also for a client that is gone) or
        "drop" (accepted, then cut off); {"method", "path"} with "error": a name from fakepve's catalogue;
        or {"error": "task", "task" (as vzclone), "message"}: the next such task fails.
        """
        if fault["target"] == "agent":
            self._fault_number += 1
            numbered = {"id": self._fault_number, "vmid": None, "times": None, **fault}
            self._agent_faults = [*self._agent_faults, numbered]
            self.guests.set_faults(self._agent_faults)
        elif fault.get("error") == "task":
            _require(fault, "task", "message")
            self._task_faults.append(dict(fault))
        else:
            self._inject_http(fault)

    def _inject_http(self, fault: dict[str, Any]) -> None:
        if "method" in fault:
            fault = {**fault, "method": str(fault["method"]).upper()}
        if fault.get("error") in (None, "hang", "delay", "drop"):
            status = fault.get("status")
            if "error" not in fault and not (isinstance(status, int) and 400 <= status <= 599):
                raise InputError("status", "must be an HTTP status from 400 to 599")
            self._http_faults.faults.append({"message": "injected fault", **fault})
            return
        _require(fault, "method", "path")
        try:
            self.fail(fault["method"], fault["path"], error=fault["error"], times=fault.get("times"))
        except (ValueError, TypeError) as error:
            raise InputError("error", str(error)) from error

    def clear_faults(self) -> None:
        self.failures.clear()
        self._http_faults.faults.clear()
        self._task_faults.clear()
        self._agent_faults = []
        self.guests.set_faults([])


def _require(fault: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if not isinstance(fault.get(name), str):
            raise InputError(name, "is missing from the fault")


def _template() -> Any:
    config = {
        "rootfs": f"{STORAGE}:base-{TEMPLATE}-disk-0,size=8G",
        "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:90:00:00,ip=dhcp,type=veth",
        "cores": 1,
        "ostype": "debian",
    }
    return FakeCt(TEMPLATE, "hostwright-template", node=NODE, config=config, template=True)
