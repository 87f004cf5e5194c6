"""One real LXC container on this machine: its configuration, its start and its end. Needs root and Debian's lxc."""

import asyncio
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from orchestrator.lab.errors import LabError
from orchestrator.processes import die_with_parent

COMMON_CONFIG = Path("/usr/share/lxc/config/common.conf")
PROGRAMS = {"lxc-start": "lxc", "dnsmasq": "dnsmasq-base", "ip": "iproute2"}
"""The programs that are used, and the Debian package of each."""
CGROUPS = Path("/sys/fs/cgroup")
START_SECONDS = 20.0
_LOOK_SECONDS = 0.02
AGENT_UNIT = "hostwright-agent.service"


def require() -> None:
    """Raises LabError, with everything that is missing in one sentence, where containers cannot run."""
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if os.geteuid() != 0:
        raise LabError("containers as guests need root: run it as root, or leave out --guests lxc")
    if missing:
        raise LabError(f"containers as guests need the packages {', '.join(missing)}: `make lab-setup` installs them")


@dataclass(frozen=True)
class Network:
    """A container's eth0: a veth pair whose other end, named `host_end`, is a port of `bridge` if there is one."""

    hwaddr: str
    host_end: str
    bridge: str | None = None
    address: str | None = None
    """With its prefix length; None for DHCP."""
    gateway: str | None = None


@dataclass(frozen=True)
class Container:
    """`<lxc_path>/<name>` with its `config`; `root` is what lxc.rootfs.path takes."""

    lxc_path: Path
    name: str
    root: str

    @property
    def directory(self) -> Path:
        return self.lxc_path / self.name

    def write_config(self, network: Network, *, memory_mib: int | None = None, mounts: dict[Path, str] | None = None,
                     hostname: str | None = None) -> None:  # fmt: skip
        """Write its configuration; `mounts` are bound to paths inside, relative to its root."""
        self.directory.mkdir(parents=True, exist_ok=True)
        lines = [
            f"lxc.include = {COMMON_CONFIG}",
            f"lxc.uts.name = {hostname or self.name}",
            f"lxc.rootfs.path = {self.root}",
            "lxc.apparmor.profile = unconfined",
            "lxc.signal.halt = SIGRTMIN+3",  # what systemd powers off at
            "lxc.tty.max = 0",
            "lxc.net.0.type = veth",
            "lxc.net.0.name = eth0",
            "lxc.net.0.flags = up",
            f"lxc.net.0.hwaddr = {network.hwaddr}",
            f"lxc.net.0.veth.pair = {network.host_end}",
        ]
        if network.bridge is not None:
            lines.append(f"lxc.net.0.link = {network.bridge}")
        if memory_mib is not None:
            lines.append(f"{_memory_key()} = {memory_mib}M")
        for source, target in (mounts or {}).items():
            kind = "dir" if source.is_dir() else "file"
            lines.append(f"lxc.mount.entry = {source} {target} none bind,create={kind} 0 0")
        (self.directory / "config").write_text("\n".join(lines) + "\n")

    async def start(self, log: Path) -> asyncio.subprocess.Process:
        """The monitor, a child of this process: when it ends, so does the container. Raises LabError when it cannot."""
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
            await asyncio.sleep(_LOOK_SECONDS)
        return monitor

    async def stop(self, monitor: asyncio.subprocess.Process, grace: float) -> None:
        """Power off, after `grace` seconds kill; returns when nothing of it runs."""
        if monitor.returncode is None:
            stop = await asyncio.create_subprocess_exec(
                "lxc-stop", "-P", str(self.lxc_path), "-n", self.name, "-t", str(max(1, round(grace))),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            await stop.wait()
        await monitor.wait()

    def init_pid(self) -> int | None:
        """The container's process 1 on this machine, while it runs."""
        shown = subprocess.run(
            ["lxc-info", "-P", str(self.lxc_path), "-n", self.name, "-pH"], capture_output=True, text=True, check=False
        )
        return int(shown.stdout) if shown.returncode == 0 and shown.stdout.strip().isdigit() else None

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return subprocess.run(
            ["lxc-attach", "-P", str(self.lxc_path), "-n", self.name, "--clear-env", "--", *command],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def agent_pid(self) -> int | None:
        """The agent's process on this machine: the one of its unit that is no game."""
        for cgroup in self._unit_cgroups():
            for pid in _pids(cgroup / "cgroup.procs"):
                with_arguments = _read(Path("/proc") / str(pid) / "cmdline")
                if "hostwright_agent.py" in with_arguments:
                    return pid
        return None

    def cgroups(self) -> list[Path]:
        """Its directories in every hierarchy."""
        hierarchies = [CGROUPS, *(path for path in CGROUPS.iterdir() if path.is_dir())]
        kinds = (f"lxc.payload.{self.name}", f"lxc.monitor.{self.name}")
        return [path for hierarchy in hierarchies for kind in kinds if (path := hierarchy / kind).is_dir()]

    def remove_cgroups(self) -> None:
        """Those that a killed monitor left; one with processes in it stays."""
        for top in self.cgroups():
            for path in sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True):
                _rmdir(path)
            _rmdir(top)

    def _unit_cgroups(self) -> list[Path]:
        payloads = (CGROUPS / "systemd", CGROUPS)  # version 1 with systemd's own hierarchy, version 2
        found = (base / f"lxc.payload.{self.name}" / "system.slice" / AGENT_UNIT for base in payloads)
        return [path for path in found if path.is_dir()]


def is_process(pid: int) -> bool:
    return (Path("/proc") / str(pid)).exists()


def address_of(pid: int) -> str | None:
    """The IPv4 address of a container with this process, None while it has none.

    Reads the kernel's local addresses of that network namespace (/proc/<pid>/net/fib_trie: a line `|-- ADDRESS`
    before a line `/32 host LOCAL`)."""
    previous = ""
    for line in _read(Path("/proc") / str(pid) / "net" / "fib_trie").splitlines():
        if "host LOCAL" in line:
            address = previous.rpartition(" ")[2]
            if not address.startswith("127."):
                return address
        previous = line
    return None


def _memory_key() -> str:
    unified = (CGROUPS / "cgroup.controllers").exists()
    return "lxc.cgroup2.memory.max" if unified else "lxc.cgroup.memory.limit_in_bytes"


def remove_pivots() -> None:
    """LXC's own empty cgroup, which every end of a container makes; LXC makes it anew when it needs it."""
    for hierarchy in CGROUPS.iterdir():
        _rmdir(hierarchy / "lxc.pivot")


def _pids(file: Path) -> list[int]:
    return [int(line) for line in _read(file).split()]


def _read(file: Path) -> str:
    """What a file of /proc or /sys says, nothing when it is gone by now."""
    try:
        return file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _rmdir(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it says nothing"
