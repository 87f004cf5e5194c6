"""The network of the lab's LXC containers: a bridge with a DHCP server, without a way to the world."""

import asyncio
import signal
import subprocess
from pathlib import Path

from orchestrator.lab.errors import LabError
from orchestrator.processes import die_with_parent

PREFIX = 24
LEASE = "2m"
"""The shortest lease of dnsmasq, so that the addresses of deleted containers are soon free again."""


class Network:
    """The network 10.86.<block>.0/24. The machine is .1, the containers get the other addresses."""

    def __init__(self, block: int, directory: Path) -> None:
        self.bridge = f"hwbr{block}"
        self._net = f"10.86.{block}"
        self._directory = directory
        self._server: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Make the bridge and start its DHCP server. Raises LabError when that is not possible."""
        self._remove_bridge()  # a lab that was killed has left its own
        _ip("link", "add", self.bridge, "type", "bridge")
        _ip("address", "add", f"{self._net}.1/{PREFIX}", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")
        with (self._directory / "dhcp.log").open("wb") as log:
            self._server = await asyncio.create_subprocess_exec(
                # In debug mode dnsmasq keeps its credentials. A change of them would undo `die_with_parent`.
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
