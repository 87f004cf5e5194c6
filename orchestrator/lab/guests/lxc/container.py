"""One LXC container on this machine: its configuration, its start and its end."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.lab.errors import LabError
from orchestrator.lab.guests.lxc.kernel import memory_limit_key
from orchestrator.processes import die_with_parent

COMMON_CONFIG = Path("/usr/share/lxc/config/common.conf")
PROGRAMS = {"lxc-start": "lxc", "dnsmasq": "dnsmasq-base", "ip": "iproute2"}
"""The programs that containers need, and the Debian package of each."""
START_SECONDS = 20.0
_POLL_SECONDS = 0.02


def find_missing_packages(programs: Mapping[str, str]) -> list[str]:
    """The packages of those programs that are not installed."""
    return sorted({package for program, package in programs.items() if shutil.which(program) is None})


def require_lxc() -> None:
    """Raises LabError where containers cannot run; it names everything that is missing."""
    if os.geteuid() != 0:
        raise LabError("containers as guests need root: run it as root, or leave out --guests lxc")
    if missing := find_missing_packages(PROGRAMS):
        raise LabError(f"containers as guests need the packages {', '.join(missing)}: `make lab-setup` installs them")


@dataclass(frozen=True)
class Interface:
    """A container's eth0: a veth pair whose other end, `host_end`, is a port of `bridge` if there is one."""

    hwaddr: str
    host_end: str
    bridge: str | None = None
    address: str | None = None
    """A static address with its prefix length; None for DHCP."""
    gateway: str | None = None


@dataclass(frozen=True)
class Container:
    """The container `<lxc_path>/<name>`; `root` is what lxc.rootfs.path takes."""

    lxc_path: Path
    name: str
    root: str

    @property
    def directory(self) -> Path:
        return self.lxc_path / self.name

    def write_config(self, interface: Interface, *, memory_mib: int | None = None,
                     mounts: Mapping[Path, str] | None = None, hostname: str | None = None) -> None:  # fmt: skip
        """Write its configuration. `mounts` maps files and directories to the paths inside that they are bound to."""
        self.directory.mkdir(parents=True, exist_ok=True)
        lines = [
            f"lxc.include = {COMMON_CONFIG}",
            f"lxc.uts.name = {hostname or self.name}",
            f"lxc.rootfs.path = {self.root}",
            "lxc.apparmor.profile = unconfined",
            "lxc.signal.halt = SIGRTMIN+3",  # the signal that makes systemd power off
            "lxc.tty.max = 0",
            "lxc.net.0.type = veth",
            "lxc.net.0.name = eth0",
            "lxc.net.0.flags = up",
            f"lxc.net.0.hwaddr = {interface.hwaddr}",
            f"lxc.net.0.veth.pair = {interface.host_end}",
        ]
        if interface.bridge is not None:
            lines.append(f"lxc.net.0.link = {interface.bridge}")
        if memory_mib is not None:
            lines.append(f"{memory_limit_key()} = {memory_mib}M")
        for source, target in (mounts or {}).items():
            kind = "dir" if source.is_dir() else "file"
            lines.append(f"lxc.mount.entry = {source} {target} none bind,create={kind} 0 0")
        (self.directory / "config").write_text("\n".join(lines) + "\n")

    async def start(self, log: Path) -> asyncio.subprocess.Process:
        """Start it and return its monitor, a child of this process. When the monitor ends, so does the container.

        Raises LabError when the container does not start."""
        with log.open("ab") as output:
            monitor = await asyncio.create_subprocess_exec(
                "lxc-start", "-F", "-P", str(self.lxc_path), "-n", self.name, "-o", str(log), "-l", "WARN",
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env={"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
                preexec_fn=die_with_parent(signal.SIGKILL),
            )  # fmt: skip
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while self.init_pid() is None:
            late = asyncio.get_running_loop().time() > deadline
            if monitor.returncode is not None or late:
                if late:
                    monitor.kill()
                await monitor.wait()
                raise LabError(f"container {self.name} does not start: {_last_line(log)}")
            await asyncio.sleep(_POLL_SECONDS)
        return monitor

    async def stop(self, monitor: asyncio.subprocess.Process, grace: float) -> None:
        """Power it off, and kill it after `grace` seconds; returns when nothing of it runs."""
        if monitor.returncode is None:
            stop = await asyncio.create_subprocess_exec(
                "lxc-stop", "-P", str(self.lxc_path), "-n", self.name, "-t", str(max(1, round(grace))),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            await stop.wait()
        await monitor.wait()

    def init_pid(self) -> int | None:
        """The container's process 1 on this machine, while it runs."""
        shown = self.call("lxc-info", "-pH")
        return int(shown.stdout) if shown.returncode == 0 and shown.stdout.strip().isdigit() else None

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return self.call("lxc-attach", "--clear-env", "--", *command)

    def call(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of LXC's programs on this container."""
        return subprocess.run(
            [program, "-P", str(self.lxc_path), "-n", self.name, *arguments],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "its log is empty"
