"""Guests as real LXC containers: systemd, the agent as a service, an address by DHCP, on a bridge of the lab."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.lab.errors import LabError
from orchestrator.lab.guests import lxc, lxc_files, lxc_image, template
from orchestrator.lab.guests.driver import TERMINATION_GRACE, AgentFaults, Boot, Halted, write_private
from orchestrator.lab.guests.lxc_network import PREFIX, LxcNetwork
from orchestrator.lab.history import History

_LOOK_SECONDS = 0.05
"""How often a container is looked at: whether it has an address, and whether its agent lives."""


@dataclass
class LxcGuest:
    """A started container; its address and its agent are what was seen last."""

    vmid: int
    boot: object
    container: lxc.Container
    monitor: asyncio.subprocess.Process
    init: int
    address: str | None = None
    pid: int | None = None
    ending: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def alive(self) -> bool:
        return self.monitor.returncode is None


class LxcGuests:
    """Containers below `<root>/lxc`, each an overlay over the template that `make lab-setup` built."""

    prefix = PREFIX

    def __init__(self, root: Path, block: int, *, speed: float, agent_token: str | None, history: History) -> None:
        lxc.require()
        if ":" in str(root) or " " in str(root):
            raise LabError(f"the path {root} has a colon or a blank in it, which LXC cannot take: choose another")
        self.speed = speed
        self.leases: dict[int, str] = {}
        self._token = agent_token
        self._token_file = root / "agent-token"
        self._history = history
        self._block = block
        self._lxc_path = root / "lxc"
        self._artifacts = self._lxc_path / "template" / "artifacts"
        shared = self._lxc_path / "faults"
        shared.mkdir(parents=True, exist_ok=True)
        shared.chmod(0o1777)  # agents count in there, as users of their own
        self._faults = AgentFaults(shared / lxc_files.FAULTS_NAME)
        self._network = LxcNetwork(block, self._lxc_path)
        self._image = lxc_image.template_root()
        self._template = 0
        self._mounts: dict[Path, str] = {}
        self._halted: Halted = lambda vmid, boot: None
        self._guests: dict[int, LxcGuest] = {}
        self._watches: set[asyncio.Task[None]] = set()

    async def open(self, template_vmid: int, halted: Halted) -> None:
        self._halted = halted
        lxc_image.require_template(self._image)
        self._template = template_vmid
        template.build(self._artifacts.parent, "/usr/bin/python3")
        self._mounts = {self._artifacts: lxc_files.ARTIFACTS, self._faults.file.parent: lxc_files.FAULTS}
        if self._token is not None:
            # One file for all, which the agent's user in there owns: no container holds a copy.
            write_private(self._token_file, self._token, lxc_files.agent_user(self._image))
            self._mounts[self._token_file] = lxc_files.TOKEN
        for left in self._lxc_path.glob(f"hw{self._block}-*"):
            self._container(int(left.name.rpartition("-")[2])).remove_cgroups()  # of a lab that was killed
        await self._network.open()

    # root directories

    def _container(self, vmid: int) -> lxc.Container:
        name = f"hw{self._block}-{vmid}"
        directory = self._lxc_path / name
        return lxc.Container(self._lxc_path, name, f"overlay:{self._image}:{directory / 'upper'}")

    def clone(self, source: int, target: int) -> None:
        directory = self._container(target).directory
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        if source == self._template:
            (directory / "upper").mkdir()
            return
        # With cp: an overlay marks what was deleted by device files, which Python's copies would open.
        copied = subprocess.run(
            ["cp", "-a", str(self._container(source).directory / "upper"), str(directory / "upper")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if copied.returncode:
            raise OSError(copied.stderr.strip())

    def remove(self, vmid: int) -> None:
        container = self._container(vmid)
        shutil.rmtree(container.directory, ignore_errors=True)
        container.remove_cgroups()

    # containers

    def find(self, vmid: int) -> LxcGuest | None:
        return self._guests.get(vmid)

    def all(self) -> Iterator[LxcGuest]:
        return (guest for guest in list(self._guests.values()) if guest.alive)

    async def start(self, boot: Boot) -> LxcGuest:
        container = self._container(boot.vmid)
        upper = container.directory / "upper"
        upper.mkdir(parents=True, exist_ok=True)
        network = lxc.Network(
            boot.hwaddr.lower(), f"hw{self._block}v{boot.vmid}", self._network.bridge, boot.address, boot.gateway
        )
        lxc_files.write_identity(upper, boot.hostname)
        lxc_files.write_network(upper, network)
        lxc_files.write_agent_options(upper, speed=self.speed, has_token=self._token is not None)
        container.write_config(
            network,
            hostname=boot.hostname,
            memory_mib=boot.memory_mib,
            mounts=self._mounts,
        )
        monitor = await container.start(container.directory / "lxc.log")
        init = container.init_pid()
        if init is None:
            raise LabError(f"container {container.name} ended as soon as it was started")
        guest = LxcGuest(boot.vmid, boot.number, container, monitor, init)
        self._guests[boot.vmid] = guest
        self._history.add("guest", action="start", vmid=boot.vmid, pid=init)
        watch = asyncio.create_task(self._watch(guest))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        return guest

    async def _watch(self, guest: LxcGuest) -> None:
        """Follow what happens inside: the address, the agent's process, its death and, by a fault, its return."""
        while guest.alive and guest.ending is None:
            if guest.address is None:
                guest.address = lxc.address_of(guest.init)
            known = guest.pid
            if known is None or not lxc.is_process(known):
                guest.pid = guest.container.agent_pid()
                if known is not None and guest.pid is None:
                    await self._agent_died(guest, known)
            await asyncio.sleep(_LOOK_SECONDS)
        if guest.ending is None and self._guests.get(guest.vmid) is guest:
            del self._guests[guest.vmid]
            self._history.add("guest", action="exit", vmid=guest.vmid, pid=guest.init)
            self._halted(guest.vmid, guest.boot)

    async def _agent_died(self, guest: LxcGuest, pid: int) -> None:
        """It stays dead, unless a fault says that it comes back."""
        if guest.ending is not None or not guest.alive:
            return
        self._history.add("guest", action="exit", vmid=guest.vmid, pid=pid)
        back = self._faults.back_after(guest.vmid)
        if back is not None:
            await asyncio.sleep(back)
            await asyncio.to_thread(guest.container.run, "systemctl", "start", lxc.AGENT_UNIT)

    async def stop(self, vmid: int) -> None:
        guest = self._guests.get(vmid)
        if guest is None:
            return
        if guest.ending is None:
            guest.ending = asyncio.create_task(self._end(guest))
        await asyncio.shield(guest.ending)

    async def _end(self, guest: LxcGuest) -> None:
        await guest.container.stop(guest.monitor, TERMINATION_GRACE)
        self._history.add("guest", action="stop", vmid=guest.vmid, pid=guest.init)
        if self._guests.get(guest.vmid) is guest:
            del self._guests[guest.vmid]

    async def close(self) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*(self.stop(vmid) for vmid in list(self._guests)))
        await self._network.close()
        lxc.remove_pivots()

    def set_faults(self, faults: list[Mapping[str, Any]]) -> None:
        self._faults.set(faults)
