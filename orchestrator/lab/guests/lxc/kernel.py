"""What the kernel shows of a container on this machine: its cgroups, its processes and its address."""

from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
PROCESSES = Path("/proc")
AGENT_UNIT = "hostwright-agent.service"


def find_cgroups(name: str) -> list[Path]:
    """The directories of a container in every hierarchy of cgroups."""
    hierarchies = [CGROUPS, *(path for path in CGROUPS.iterdir() if path.is_dir())]
    kinds = (f"lxc.payload.{name}", f"lxc.monitor.{name}")
    return [path for hierarchy in hierarchies for kind in kinds if (path := hierarchy / kind).is_dir()]


def remove_cgroups(name: str) -> None:
    """Remove the cgroups that a killed monitor left behind. A cgroup with processes in it stays."""
    for top in find_cgroups(name):
        for path in sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True):
            _remove_if_empty(path)
        _remove_if_empty(top)


def remove_pivot_cgroups() -> None:
    """Remove LXC's own empty cgroup, which is left when a container ends. LXC makes it again when it needs it."""
    for hierarchy in CGROUPS.iterdir():
        _remove_if_empty(hierarchy / "lxc.pivot")


def memory_limit_key() -> str:
    """The key of LXC's configuration that limits memory, which depends on the version of cgroups."""
    unified = (CGROUPS / "cgroup.controllers").exists()
    return "lxc.cgroup2.memory.max" if unified else "lxc.cgroup.memory.limit_in_bytes"


def find_agent(name: str) -> int | None:
    """The process of a container's agent; its unit holds the game's processes too."""
    for cgroup in _unit_cgroups(name):
        for pid in _read(cgroup / "cgroup.procs").split():
            if "hostwright_agent.py" in _read(PROCESSES / pid / "cmdline"):
                return int(pid)
    return None


def is_process(pid: int) -> bool:
    return (PROCESSES / str(pid)).exists()


def address_of(pid: int) -> str | None:
    """The IPv4 address of the container of this process; None while it has none.

    The kernel lists the local addresses of a network namespace in /proc/<pid>/net/fib_trie: a line `|-- ADDRESS`
    stands before a line `/32 host LOCAL`."""
    previous = ""
    for line in _read(PROCESSES / str(pid) / "net" / "fib_trie").splitlines():
        if "host LOCAL" in line:
            address = previous.rpartition(" ")[2]
            if not address.startswith("127."):
                return address
        previous = line
    return None


def _unit_cgroups(name: str) -> list[Path]:
    payloads = (CGROUPS / "systemd", CGROUPS)  # version 1 with systemd's own hierarchy, version 2
    found = (base / f"lxc.payload.{name}" / "system.slice" / AGENT_UNIT for base in payloads)
    return [path for path in found if path.is_dir()]


def _read(file: Path) -> str:
    """The content of a file of /proc or /sys; empty when the file is gone by now."""
    try:
        return file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _remove_if_empty(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return
