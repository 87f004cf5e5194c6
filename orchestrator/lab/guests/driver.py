"""What a backend of the lab's containers offers: the driver, a guest, and how each agent is told its options."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

AGENT_PORT = 18888
TERMINATION_GRACE = 2.0
"""Seconds between asking a guest to end and killing it."""

# Durations in seconds at speed 1.
INSTALL_SECONDS = 1.0
START_SECONDS = 0.5
BACKOFF_SECONDS = (30.0, 60.0, 120.0)


@dataclass(frozen=True)
class Boot:
    """One start of a container: `number` tells it from every other, the rest is what Proxmox was told."""

    vmid: int
    number: object
    hostname: str
    memory_mib: int
    hwaddr: str
    address: str | None = None
    """Static, with its prefix length; None for DHCP."""
    gateway: str | None = None


Halted = Callable[[int, object], None]
"""Takes the VMID, and which boot of it ended."""


class Guest(Protocol):
    """A started container."""

    vmid: int
    boot: object

    @property
    def alive(self) -> bool: ...

    @property
    def pid(self) -> int | None:
        """The agent's process on this machine, while there is one."""

    @property
    def address(self) -> str | None:
        """Its address, once it shows."""


class GuestDriver(Protocol):
    """Containers as Proxmox has them: root directories that are cloned, started, stopped and removed."""

    prefix: int
    """Length of the guests' network prefix."""
    speed: float
    leases: dict[int, str]
    """The address of each container that keeps it over a restart of the lab."""

    async def open(self, template: int, halted: Halted) -> None:
        """Make ready to start guests, the template's root included; `halted` is told of each that ended by itself.

        Raises LabError when that is not possible."""

    def clone(self, source: int, target: int) -> None:
        """Copy everything a container holds, its agent's state included. Raises OSError."""

    def remove(self, vmid: int) -> None:
        """Forget a container's files and address."""

    def find(self, vmid: int) -> Guest | None: ...

    def all(self) -> Iterator[Guest]:
        """The guests that are alive."""

    async def start(self, boot: Boot) -> Guest:
        """Start a container. Raises OSError or LabError when that is not possible."""

    async def stop(self, vmid: int) -> None:
        """End a container with everything in it; returns when nothing of it runs."""

    def set_faults(self, faults: list[Mapping[str, Any]]) -> None:
        """What agents do wrong from their next payload on; one that dies comes `back` after so many seconds."""

    async def close(self) -> None: ...


class AgentFaults:
    """The file that tells agents what to do wrong: they all share it, and count there what each has used up."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._armed: list[Mapping[str, Any]] = []
        self.set([])

    def set(self, faults: list[Mapping[str, Any]]) -> None:
        self._armed = faults
        for used in self.file.parent.glob(f"{self.file.name}.*"):
            if used.name.split(".")[-2] not in {str(fault.get("id")) for fault in faults}:
                used.unlink(missing_ok=True)
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps(faults))
        partial.replace(self.file)

    def back_after(self, vmid: int) -> float | None:
        """After how many seconds an agent that died is started again; None for never."""
        dying = (fault for fault in self._armed if fault["behaviour"] == "die" and fault["vmid"] in (None, vmid))
        return next((float(fault["back"]) for fault in dying if "back" in fault), None)


def paces(speed: float) -> list[str]:
    """The agent's options for its durations."""
    backoff = ",".join(str(seconds * speed) for seconds in BACKOFF_SECONDS)
    return [
        "--install-seconds", str(INSTALL_SECONDS * speed), "--start-seconds", str(START_SECONDS * speed),
        "--backoff", backoff,
    ]  # fmt: skip


def write_private(file: Path, text: str, owner: tuple[int, int] | None = None) -> None:
    """A new file that its owner alone reads."""
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        if owner is not None:
            os.fchown(descriptor, *owner)
        opened.write(text)
