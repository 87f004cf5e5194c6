"""Guests as LXC containers: systemd, the agent as a service, an address by DHCP, on a bridge of the lab."""

import asyncio
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.lab.errors import LabError
from orchestrator.lab.guests import template
from orchestrator.lab.guests.agent import AgentFaults, write_private
from orchestrator.lab.guests.driver import TERMINATION_GRACE, Boot, Halted
from orchestrator.lab.guests.lxc import files, images, kernel
from orchestrator.lab.guests.lxc.container import Container, Interface, require_lxc
from orchestrator.lab.guests.lxc.network import PREFIX, Network
from orchestrator.lab.guests.started import StartedGuests
from orchestrator.lab.history import History

_POLL_SECONDS = 0.05
"""How often the lab looks whether a container has an address and whether its agent lives."""


@dataclass
class LxcGuest:
    """A started container. Its address and its agent's process are as they were seen last."""

    vmid: int
    boot: object
    container: Container
    monitor: asyncio.subprocess.Process
    init: int
    address: str | None = None
    pid: int | None = None
    ending: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def alive(self) -> bool:
        return self.monitor.returncode is None


class LxcGuests(StartedGuests[LxcGuest]):
    """Containers below `<root>/lxc`, each an overlay over the template that `make lab-setup` built."""

    prefix = PREFIX

    def __init__(self, root: Path, block: int, *, speed: float, agent_token: str | None, history: History) -> None:
        super().__init__()
        require_lxc()
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
        shared.chmod(0o1777)  # the agents count in there, each as a user of its container
        self._faults = AgentFaults(shared / files.FAULTS_NAME)
        self._network = Network(block, self._lxc_path)
        self._image = images.template_path()
        self._template = 0
        self._mounts: dict[Path, str] = {}
        self._halted: Halted = lambda vmid, boot: None

    async def open(self, template_vmid: int, halted: Halted) -> None:
        self._halted = halted
        images.require_image(self._image)
        self._template = template_vmid
        template.build(self._artifacts.parent, "/usr/bin/python3")
        self._mounts = {self._artifacts: files.ARTIFACTS, self._faults.file.parent: files.FAULTS}
        if self._token is not None:
            # One file for all containers, owned by the agent's user in there: no container holds a copy.
            write_private(self._token_file, self._token, files.find_agent_user(self._image))
            self._mounts[self._token_file] = files.TOKEN
        for left in self._lxc_path.glob(f"hw{self._block}-*"):
            kernel.remove_cgroups(left.name)  # a lab that was killed has left them
        await self._network.open()

    # root directories

    def _container(self, vmid: int) -> Container:
        name = f"hw{self._block}-{vmid}"
        directory = self._lxc_path / name
        return Container(self._lxc_path, name, f"overlay:{self._image}:{directory / 'upper'}")

    def clone(self, source: int, target: int) -> None:
        directory = self._container(target).directory
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        if source == self._template:
            (directory / "upper").mkdir()
            return
        # An overlay marks what was deleted by device files. cp copies them, where Python's functions would open them.
        copied = subprocess.run(
            ["cp", "-a", str(self._container(source).directory / "upper"), str(directory / "upper")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if copied.returncode:
            raise OSError(copied.stderr.strip())

    def remove(self, vmid: int) -> None:
        container = self._container(vmid)
        shutil.rmtree(container.directory, ignore_errors=True)
        kernel.remove_cgroups(container.name)

    # containers

    async def start(self, boot: Boot) -> LxcGuest:
        container = self._container(boot.vmid)
        self._write_files(container, boot)
        monitor = await container.start(container.directory / "lxc.log")
        init = container.init_pid()
        if init is None:
            raise LabError(f"container {container.name} ended as soon as it was started")
        guest = LxcGuest(boot.vmid, boot.number, container, monitor, init)
        self._guests[boot.vmid] = guest
        self._history.add("guest", action="start", vmid=boot.vmid, pid=init)
        self._watch_in_background(self._watch(guest))
        return guest

    def _write_files(self, container: Container, boot: Boot) -> None:
        upper = container.directory / "upper"
        upper.mkdir(parents=True, exist_ok=True)
        host_end = f"hw{self._block}v{boot.vmid}"
        interface = Interface(boot.hwaddr.lower(), host_end, self._network.bridge, boot.address, boot.gateway)
        files.write_identity(upper, boot.hostname)
        files.write_network(upper, interface)
        files.write_agent_options(upper, speed=self.speed, has_token=self._token is not None)
        container.write_config(interface, hostname=boot.hostname, memory_mib=boot.memory_mib, mounts=self._mounts)

    async def _watch(self, guest: LxcGuest) -> None:
        """Follow what happens inside: the address, the agent's process, its death and, by a fault, its return."""
        while guest.alive and guest.ending is None:
            if guest.address is None:
                guest.address = kernel.address_of(guest.init)
            known = guest.pid
            if known is None or not kernel.is_process(known):
                guest.pid = kernel.find_agent(guest.container.name)
                if known is not None and guest.pid is None:
                    await self._note_agent_death(guest, known)
            await asyncio.sleep(_POLL_SECONDS)
        if not self._is_over(guest):
            self._drop(guest)
            self._history.add("guest", action="exit", vmid=guest.vmid, pid=guest.init)
            self._halted(guest.vmid, guest.boot)

    async def _note_agent_death(self, guest: LxcGuest, pid: int) -> None:
        """An agent that died stays dead, unless a fault says that it comes back."""
        if guest.ending is not None or not guest.alive:
            return
        self._history.add("guest", action="exit", vmid=guest.vmid, pid=pid)
        seconds = self._faults.seconds_until_return(guest.vmid)
        if seconds is not None:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(guest.container.run, "systemctl", "start", kernel.AGENT_UNIT)

    async def _end(self, guest: LxcGuest) -> None:
        await guest.container.stop(guest.monitor, TERMINATION_GRACE)
        self._history.add("guest", action="stop", vmid=guest.vmid, pid=guest.init)
        self._drop(guest)

    async def close(self) -> None:
        await self._stop_all()
        await self._network.close()
        kernel.remove_pivot_cgroups()

    def set_faults(self, faults: list[Mapping[str, Any]]) -> None:
        self._faults.set(faults)
