"""`python -m orchestrator.lab.guests.lxc.setup` prepares this machine for LXC guests, from packages to the template."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from orchestrator.lab.errors import LabError
from orchestrator.lab.guests.lxc import container, images

PROGRAMS = container.PROGRAMS | {"mmdebstrap": "mmdebstrap"}
"""The programs that run and build containers, and the Debian package of each."""
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES = 1024
"""A systemd in a container takes several instances: about 26 containers use up the kernel's 128."""


def main() -> int:
    """Returns the exit code: 0 when everything is there, 1 with one sentence when it cannot be."""
    try:
        if os.geteuid() != 0:
            raise LabError("lab-setup installs packages and builds containers: run it as root")
        _report_step("packages", install_packages)
        _report_step("inotify limit", raise_inotify_limit)
        _report_step("plain Debian", lambda: str(images.build_base()))
        _report_step("template with the agent", lambda: str(images.build_template()))
    except LabError as error:
        print(f"lab-setup: {error}", file=sys.stderr)
        return 1
    print("ready: `hostwright up --lab --guests lxc`, `make e2e GUESTS=lxc`")
    return 0


def install_packages(programs: Mapping[str, str] = PROGRAMS) -> str:
    """Install the Debian package of each program that is missing; returns what was installed, in words."""
    missing = container.find_missing_packages(programs)
    if not missing:
        return "nothing is missing"
    if shutil.which("apt-get") is None:
        raise LabError(f"install {', '.join(missing)} by hand: there is no apt-get here")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *missing]):
        done = subprocess.run(
            ["apt-get", "-o", "DPkg::Lock::Timeout=120", *arguments],
            capture_output=True, text=True, check=False, env=environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            raise LabError(f"apt-get {arguments[0]} failed: {images.last_lines(done.stderr)}")
    return f"installed {', '.join(missing)}"


def raise_inotify_limit() -> str:
    """Raise the limit until the next boot; returns what it is, in words."""
    limit = int(INOTIFY.read_text())
    if limit >= INOTIFY_INSTANCES:
        return f"{limit} already"
    INOTIFY.write_text(str(INOTIFY_INSTANCES))
    return f"raised from {limit} to {INOTIFY_INSTANCES}, until the next boot"


def _report_step(name: str, work: Callable[[], str]) -> None:
    print(f"{name} …", end=" ", flush=True)
    began = time.monotonic()
    print(f"{work()} ({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    sys.exit(main())
