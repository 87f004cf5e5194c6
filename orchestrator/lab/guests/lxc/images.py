"""The root directories that the lab's containers are cloned from: a plain Debian, and the template made of it.

Each lies in IMAGES under a digest of what it is made of. So checkouts with different agents have templates of their
own, and nothing is built twice.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from orchestrator.lab.errors import LabError
from orchestrator.lab.guests.lxc import isolated
from orchestrator.lab.guests.lxc.files import network_file
from orchestrator.lab.guests.template import REPOSITORY

IMAGES = Path("/var/cache/hostwright/images")
SUITE = "bookworm"
INCLUDED = ("systemd-sysv", "python3", "iproute2", "procps")
# systemd-networkd reads the file that the lab writes. A resolver would only wait: containers reach no name server.
CUSTOMISE = (
    'chroot "$1" systemctl enable --quiet systemd-networkd',
    'rm -f "$1"/etc/hostname; : > "$1"/etc/resolv.conf; : > "$1"/etc/machine-id',
)
SOURCES = ("agent", "roles/install_agent", "roles/seal_template", "playbooks/template.yml")
"""What a template is made of, besides Debian."""


def base_path() -> Path:
    """Where the plain Debian is, or would be."""
    return IMAGES / f"debian-{_digest([SUITE, *INCLUDED, *CUSTOMISE])}"


def template_path() -> Path:
    """Where the template of this checkout is, or would be."""
    files = sorted(path for source in SOURCES for path in _list_files(REPOSITORY / source))
    return IMAGES / f"template-{_digest([base_path().name, *(path.read_text() for path in files)])}"


def require_image(path: Path) -> Path:
    """Return the path. Raises LabError when the image there was not built."""
    if not path.is_dir():
        raise LabError("the image of this checkout was not built: `make lab-setup` builds it")
    return path


def build_base() -> Path:
    """Install Debian's packages into a directory: this takes about a minute, and 250 MB."""
    return _build(base_path(), _make_base)


def build_template() -> Path:
    """Copy the plain Debian and install the agent, by the same playbook that makes a template on Proxmox."""
    return _build(template_path(), _make_template)


def _make_base(root: Path) -> None:
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=apt",
        f"--include={','.join(INCLUDED)}",
        *(f"--customize-hook={line}" for line in CUSTOMISE),
        SUITE,
        str(root),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"mmdebstrap failed: {last_lines(done.stderr)}")


def _make_template(root: Path) -> None:
    base = require_image(base_path())
    copied = subprocess.run(["cp", "-a", str(base), str(root)], capture_output=True, text=True, check=False)
    if copied.returncode:
        raise LabError(f"the plain Debian cannot be copied: {last_lines(copied.stderr)}")
    container = isolated.isolated_container(f"hw-template-{os.getpid()}", f"dir:{root}")
    with isolated.running(container, writable=root):
        played = subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(isolated.write_inventory(container)),
             "playbooks/template.yml"],
            cwd=REPOSITORY, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if played.returncode:
            raise LabError(f"playbooks/template.yml failed:\n{played.stdout.strip()}\n{played.stderr.strip()}")
    network_file(root).unlink()


def _build(target: Path, make: Callable[[Path], None]) -> Path:
    """Make an image unless it is there; under another name first, so that half an image is never taken for a whole."""
    if target.is_dir():
        return target
    IMAGES.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix="making-", dir=IMAGES))
    try:
        make(making / "root")
        (making / "root").replace(target)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return target


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _list_files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    return [path for path in source.rglob("*") if path.suffix in (".py", ".yml", ".service", ".socket")]


def last_lines(text: str) -> str:
    """The last lines of a program's output, as a part of a sentence."""
    return " | ".join(text.strip().splitlines()[-3:])
