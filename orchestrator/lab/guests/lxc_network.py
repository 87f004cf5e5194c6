"""The network of the lab's containers: a bridge of its own, with a DHCP server, closed to the world."""

import asyncio
import signal
import subprocess
from pathlib import Path

from orchestrator.lab.errors import LabError
from orchestrator.processes import die_with_parent

PREFIX = 24
LEASE = "2m"
"""dnsmasq's shortest: the addresses of deleted containers come free again."""


class LxcNetwork:
    """10.86.<block>.0/24: the machine is .1, containers get the rest."""

    def __init__(self, block: int, directory: Path) -> None:
        self.bridge = f"hwbr{block}"
        self._net = f"10.86.{block}"
        self._directory = directory
        self._server: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Make the bridge and start its DHCP server. Raises LabError when that is not possible."""
        self._remove_bridge()  # a lab that was killed left it
        _ip("link", "add", self.bridge, "type", "bridge")
        _ip("address", "add", f"{self._net}.1/{PREFIX}", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")
        with (self._directory / "dhcp.log").open("wb") as log:
            self._server = await asyncio.create_subprocess_exec(
                # In debug mode it keeps its credentials; a change of them would untie it from its parent's death.
                "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0",
                f"--interface={self.bridge}", "--bind-interfaces", "--except-interface=lo", "--no-ping",
                "--dhcp-authoritative", f"--dhcp-range={self._net}.2,{self._net}.254,255.255.255.0,{LEASE}",
                f"--dhcp-leasefile={self._directory / 'dhcp.leases'}", "--pid-file=",
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent(signal.SIGKILL),
            )  # fmt: skip

    async def close(self) -> None:
        if self._server is not None and self._server.returncode is None:
            self._server.terminate()
            await self._server.wait()
        self._remove_bridge()

    def _remove_bridge(self) -> None:
        if Path(f"/sys/class/net/{self.bridge}").exists():
            _ip("link", "delete", self.bridge)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"`ip {' '.join(arguments)}` failed: {done.stderr.strip()}")
