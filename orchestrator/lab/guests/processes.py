"""Guests as plain processes: a running container is the agent alone, on a loopback address of its own."""

import asyncio
import contextlib
import os
import py_compile
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.lab.errors import LabError
from orchestrator.lab.guests import template
from orchestrator.lab.guests.agent import AGENT_PORT, AgentFaults, duration_options, write_private
from orchestrator.lab.guests.driver import TERMINATION_GRACE, Boot, Halted
from orchestrator.lab.guests.started import StartedGuests
from orchestrator.lab.history import History

AGENT = template.REPOSITORY / "agent" / "hostwright_agent.py"
ADDRESS_SECONDS = 1.0
"""From a container's start until its address is visible, at speed 1."""


@dataclass
class ProcessGuest:
    """A started container: its agent's process, and when (monotonic) its address becomes visible."""

    vmid: int
    boot: object
    process: asyncio.subprocess.Process
    lease: str
    address_at: float
    ending: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.alive else None

    @property
    def address(self) -> str | None:
        return self.lease if time.monotonic() >= self.address_at else None


class ProcessGuests(StartedGuests[ProcessGuest]):
    """Containers as process groups. Their root directories lie below `root`, one per VMID."""

    prefix = 20

    def __init__(self, root: Path, block: int, *, speed: float, agent_token: str | None, history: History) -> None:
        super().__init__()
        self.root = root
        self._history = history
        self.speed = speed
        self.leases: dict[int, str] = {}
        self._addresses = tuple(f"127.{block}.{16 + n // 254}.{1 + n % 254}" for n in range(16 * 254))
        self._next_address = 0
        # The base interpreter: a guest needs nothing of a virtual environment.
        self._python = str(Path(sys.executable).resolve())
        self._agent = root / "agent.pyc"
        self._token_file = root / "agent-token"
        root.mkdir(parents=True, exist_ok=True)
        # Compiled once here, not at every start of a guest.
        py_compile.compile(str(AGENT), cfile=str(self._agent), doraise=True)
        self._faults = AgentFaults(root / "agent-faults.json")
        self._token_file.unlink(missing_ok=True)
        if agent_token is not None:
            write_private(self._token_file, agent_token)

    # root directories

    def directory(self, vmid: int) -> Path:
        return self.root / "guests" / str(vmid)

    async def open(self, template_vmid: int, halted: Halted) -> None:
        """A process cannot power its container off, so `halted` is never called."""
        template.build(self.directory(template_vmid), self._python)

    def clone(self, source: int, target: int) -> None:
        template.copy(self.directory(source), self.directory(target))

    def remove(self, vmid: int) -> None:
        shutil.rmtree(self.directory(vmid), ignore_errors=True)
        self.leases.pop(vmid, None)

    # processes

    async def start(self, boot: Boot) -> ProcessGuest:
        return await self._start(boot.vmid, boot.number)

    async def _start(self, vmid: int, number: object) -> ProcessGuest:
        directory = self.directory(vmid)
        directory.mkdir(parents=True, exist_ok=True)
        address = self._lease_address(vmid)
        with (directory / "agent.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._command(vmid, address),
                cwd=directory,
                # The lab's own environment may hold secrets.
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(directory)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        guest = ProcessGuest(vmid, number, process, address, time.monotonic() + ADDRESS_SECONDS * self.speed)
        self._guests[vmid] = guest
        self._history.add("guest", action="start", vmid=vmid, pid=process.pid)
        self._watch_in_background(self._watch(guest))
        return guest

    async def _watch(self, guest: ProcessGuest) -> None:
        """An agent that died by itself stays dead, unless a fault says that it comes back."""
        await guest.process.wait()
        if self._is_over(guest):
            return
        self._history.add("guest", action="exit", vmid=guest.vmid, pid=guest.process.pid)
        seconds = self._faults.seconds_until_return(guest.vmid)
        if seconds is None:
            return
        await asyncio.sleep(seconds)
        if not self._is_over(guest):
            await self._start(guest.vmid, guest.boot)
            if guest.ending is not None:  # the container was stopped in this very moment
                await self.stop(guest.vmid)

    async def close(self) -> None:
        await self._stop_all()

    async def _end(self, guest: ProcessGuest) -> None:
        _signal_group(guest, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(guest.process.wait(), TERMINATION_GRACE)
        _signal_group(guest, signal.SIGKILL)
        await guest.process.wait()
        self._history.add("guest", action="stop", vmid=guest.vmid, pid=guest.process.pid)
        self._drop(guest)

    def _command(self, vmid: int, address: str) -> list[str]:
        directory = self.directory(vmid)
        options = {
            "--root": str(directory),
            "--listen": f"{address}:{AGENT_PORT}",
            "--artifacts": str(directory / "artifacts"),
            "--identity": f"ct-{vmid}",
            "--faults": str(self._faults.file),
            "--die-with-parent": str(os.getpid()),
        }
        if self._token_file.exists():
            options["--token-file"] = str(self._token_file)
        arguments = [part for option in options.items() for part in option]
        return [self._python, "-I", "-S", str(self._agent), *arguments, *duration_options(self.speed)]

    def _lease_address(self, vmid: int) -> str:
        """The address of a container, the same until it is removed; a freed one is not given out again at once."""
        if vmid in self.leases:
            return self.leases[vmid]
        taken = set(self.leases.values())
        for step in range(len(self._addresses)):
            address = self._addresses[(self._next_address + step) % len(self._addresses)]
            if address not in taken:
                self._next_address += step + 1
                self.leases[vmid] = address
                return address
        raise LabError("every guest address is taken: delete containers")

    def set_faults(self, faults: list[Mapping[str, Any]]) -> None:
        self._faults.set(faults)


def _signal_group(guest: ProcessGuest, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(guest.process.pid, number)
