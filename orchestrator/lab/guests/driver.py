"""What each kind of guest offers: a driver with containers as Proxmox has them, and a started guest."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

TERMINATION_GRACE = 2.0
"""Seconds between asking a guest to end and killing it."""


@dataclass(frozen=True)
class Boot:
    """One start of a container: `number` tells it from every other start, the rest is what Proxmox was told."""

    vmid: int
    number: object
    hostname: str
    memory_mib: int
    hwaddr: str
    address: str | None = None
    """A static address with its prefix length; None for DHCP."""
    gateway: str | None = None


Halted = Callable[[int, object], None]
"""Is told the VMID of a container that ended by itself, and the number of the boot that ended."""


class Guest(Protocol):
    """A started container."""

    vmid: int
    boot: object
    """The number of its boot."""

    @property
    def alive(self) -> bool: ...

    @property
    def pid(self) -> int | None:
        """The agent's process on this machine, while there is one."""

    @property
    def address(self) -> str | None:
        """The container's address, once it is visible."""


class GuestDriver(Protocol):
    """Containers as Proxmox has them: root directories that are cloned, started, stopped and removed."""

    prefix: int
    """Length of the guests' network prefix."""
    speed: float
    leases: dict[int, str]
    """The address of each container that keeps it over a restart of the lab."""

    async def open(self, template: int, halted: Halted) -> None:
        """Prepare to start guests, and make the template's root directory.

        `halted` is told of each guest that ends by itself. Raises LabError when that is not possible."""

    def clone(self, source: int, target: int) -> None:
        """Copy everything a container holds, its agent's state included. Raises OSError."""

    def remove(self, vmid: int) -> None:
        """Delete a container's files and forget its address."""

    def find(self, vmid: int) -> Guest | None: ...

    def all(self) -> Iterator[Guest]:
        """The guests that are alive."""

    async def start(self, boot: Boot) -> Guest:
        """Start a container. Raises OSError or LabError when that is not possible."""

    async def stop(self, vmid: int) -> None:
        """End a container with everything in it; returns when nothing of it runs."""

    def set_faults(self, faults: list[Mapping[str, Any]]) -> None:
        """Tell the agents what to do wrong from their next payload on.

        An agent that dies is started again after the fault's `back` seconds."""

    async def close(self) -> None: ...
