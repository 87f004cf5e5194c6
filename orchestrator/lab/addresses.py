"""The loopback addresses of a lab: one block 127.N.0.0/16. A lab claims it by listening at its control port."""

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.lab.errors import LabError
from orchestrator.lab.servers.sockets import AddressTakenError, bind_tcp

# The blocks outside are left to other programs.
FIRST_BLOCK, LAST_BLOCK = 16, 250
CONTROL_PORT = 8900
DNS_PORT = 5300
EDGE_PORT = 25565
PROXMOX_PORT = 8006
TECHNITIUM_PORT = 53443
CLOUDFLARE_PORT = 8443
VELOCITY_PORT = 8081
MC_ROUTER_PORT = 8082


@dataclass(frozen=True)
class Addresses:
    """The addresses of the servers in one block."""

    block: int

    def _address(self, last: int) -> str:
        return f"127.{self.block}.0.{last}"

    @property
    def proxmox(self) -> str:
        return self._address(1)

    @property
    def technitium(self) -> str:
        return self._address(2)

    @property
    def cloudflare(self) -> str:
        return self._address(3)

    @property
    def velocity(self) -> str:
        return self._address(4)

    @property
    def public_edge(self) -> str:
        return self._address(5)

    @property
    def internal_edge(self) -> str:
        return self._address(6)

    @property
    def mc_router(self) -> str:
        return self._address(10)

    @property
    def control(self) -> str:
        return self._address(7)

    @property
    def internal_dns(self) -> str:
        return self._address(8)

    @property
    def public_dns(self) -> str:
        return self._address(9)


def claim_block(state_dir: Path, *, block: int | None, last_used: int | None) -> tuple[Addresses, socket.socket]:
    """Claim a block: the given one, or else the last used, or else the next free one.

    Returns its addresses and the listening control socket that claims it. Raises LabError when the given block is
    taken, or every block is."""
    if block is not None:
        addresses = Addresses(block)
        return addresses, bind_tcp(addresses.control, CONTROL_PORT)
    for candidate in _list_candidates(state_dir, last_used):
        addresses = Addresses(candidate)
        try:
            return addresses, bind_tcp(addresses.control, CONTROL_PORT)
        except AddressTakenError:
            continue
    raise LabError(f"every block from 127.{FIRST_BLOCK} to 127.{LAST_BLOCK} is taken; stop a lab")


def _list_candidates(state_dir: Path, last_used: int | None) -> Iterator[int]:
    """All blocks. The first one follows from the directory, so that two labs seldom try the same one."""
    if last_used is not None:
        yield last_used
    size = LAST_BLOCK - FIRST_BLOCK + 1
    start = int.from_bytes(hashlib.sha256(str(state_dir).encode()).digest()[:4], "big")
    for step in range(size):
        yield FIRST_BLOCK + (start + step) % size
