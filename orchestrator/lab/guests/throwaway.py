"""Containers for one use, to try a role in: `python -m orchestrator.lab.guests.throwaway up NAME`, and `down NAME`.

Each is an overlay over the plain Debian of `make lab-setup`, with systemd running and no network to the world.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from orchestrator.lab.errors import LabError
from orchestrator.lab.guests import lxc, lxc_files

PLACE = Path("/run/hostwright/containers")
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A host name, which can lead to no other directory."""
BOOT_SECONDS = 60


@contextmanager
def running(name: str, root: str, writable: Path) -> Iterator[lxc.Container]:
    """A container of that root, running inside and gone outside; `writable` is where files of its root are written."""
    container = lxc.Container(PLACE, name, root)
    try:
        _start(container, writable)
        yield container
    finally:
        remove(container)


def up(name: str) -> lxc.Container:
    """Start a container of the plain Debian. Raises LabError when it cannot run, or when there is one of that name."""
    from orchestrator.lab.guests.lxc_image import require_base

    lxc.require()
    directory = PLACE / name
    if directory.exists():
        raise LabError(
            f"there is a container {name} already: `python -m orchestrator.lab.guests.throwaway down {name}`"
        )
    upper = directory / "upper"
    container = lxc.Container(PLACE, name, f"overlay:{require_base()}:{upper}")
    upper.mkdir(parents=True)
    try:
        _start(container, upper)
    except BaseException:
        remove(container)
        raise
    return container


def remove(container: lxc.Container) -> None:
    """Power off and delete; one that is not there is no error."""
    _lxc("lxc-stop", container, "-t", "10")
    shutil.rmtree(container.directory, ignore_errors=True)


def inventory(container: lxc.Container) -> Path:
    """The file that tells ansible how to reach it, in the group that playbooks/template.yml acts on."""
    host = {
        "ansible_connection": "lxc_attach",
        "ansible_lxc_path": str(container.lxc_path),
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    file = container.directory / "hosts.yml"
    file.write_text(yaml.safe_dump({"templates": {"hosts": {container.name: host}}}))
    return file


def _start(container: lxc.Container, writable: Path) -> None:
    digest = hashlib.sha256(container.name.encode()).hexdigest()
    # An address makes it online for systemd; nobody else is on that network, so all may have the same.
    network = lxc.Network(
        f"bc:24:11:{digest[:2]}:{digest[2:4]}:{digest[4:6]}", f"hwt{digest[:8]}", address="10.86.0.2/24"
    )
    lxc_files.write_identity(writable, container.name)
    lxc_files.write_network(writable, network)
    container.write_config(network)
    started = _lxc("lxc-start", container, "-d", "-o", str(container.directory / "lxc.log"))
    if started.returncode:
        raise LabError(f"container {container.name} does not start: {started.stderr.strip()}")
    deadline = time.monotonic() + BOOT_SECONDS
    while (state := container.run("systemctl", "is-system-running").stdout.strip()) not in ("running", "degraded"):
        if time.monotonic() > deadline:
            raise LabError(f"systemd in container {container.name} is {state or 'not there'} after {BOOT_SECONDS} s")
        time.sleep(0.05)


def _lxc(program: str, container: lxc.Container, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, "-P", str(container.lxc_path), "-n", container.name, *arguments],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def host_name(text: str) -> str:
    """The text as a container's name. Raises ArgumentTypeError for one that could name another place."""
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no host name: use a-z, 0-9 and -")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m orchestrator.lab.guests.throwaway", description=__doc__)
    parser.add_argument("action", choices=["up", "down"])
    parser.add_argument("name", type=host_name, help="the container's name, which is its host name too")
    given = parser.parse_args(arguments)
    try:
        if given.action == "up":
            container = up(given.name)
            print(f"a shell in it: lxc-attach -P {container.lxc_path} -n {container.name}")
            print(f"for ansible:   -i {inventory(container)}")
        else:
            lxc.require()
            remove(lxc.Container(PLACE, given.name, ""))
    except LabError as error:
        print(f"throwaway: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
