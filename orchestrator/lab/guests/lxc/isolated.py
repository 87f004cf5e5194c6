"""Containers that belong to no lab: systemd runs in them, and their network leads nowhere."""

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from orchestrator.lab.errors import LabError
from orchestrator.lab.guests.lxc import files
from orchestrator.lab.guests.lxc.container import Container, Interface

LXC_PATH = Path("/run/hostwright/containers")
BOOT_SECONDS = 60


def isolated_container(name: str, root: str = "") -> Container:
    """The container of that name; `root` is needed to start it."""
    return Container(LXC_PATH, name, root)


@contextmanager
def running(container: Container, writable: Path) -> Iterator[Container]:
    """Start the container, and remove it afterwards. Files of its root are written below `writable`."""
    try:
        start(container, writable)
        yield container
    finally:
        remove(container)


def start(container: Container, writable: Path) -> None:
    """Start the container and wait until systemd has booted it. Raises LabError when that fails."""
    digest = hashlib.sha256(container.name.encode()).hexdigest()
    # systemd counts a container as online once it has an address. All may have the same: their networks are apart.
    interface = Interface(
        f"bc:24:11:{digest[:2]}:{digest[2:4]}:{digest[4:6]}", f"hwt{digest[:8]}", address="10.86.0.2/24"
    )
    files.write_identity(writable, container.name)
    files.write_network(writable, interface)
    container.write_config(interface)
    started = container.call("lxc-start", "-d", "-o", str(container.directory / "lxc.log"))
    if started.returncode:
        raise LabError(f"container {container.name} does not start: {started.stderr.strip()}")
    deadline = time.monotonic() + BOOT_SECONDS
    while (state := container.run("systemctl", "is-system-running").stdout.strip()) not in ("running", "degraded"):
        if time.monotonic() > deadline:
            raise LabError(
                f"container {container.name} has not booted within {BOOT_SECONDS} s: "
                f"systemd is {state or 'not running yet'}"
            )
        time.sleep(0.05)


def remove(container: Container) -> None:
    """Power the container off and delete it. It is no error when there is none."""
    container.call("lxc-stop", "-t", "10")
    shutil.rmtree(container.directory, ignore_errors=True)


def write_inventory(container: Container) -> Path:
    """Write the Ansible inventory that reaches the container, in the group of playbooks/template.yml."""
    host = {
        "ansible_connection": "lxc_attach",
        "ansible_lxc_path": str(container.lxc_path),
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    file = container.directory / "hosts.yml"
    file.write_text(yaml.safe_dump({"templates": {"hosts": {container.name: host}}}))
    return file
