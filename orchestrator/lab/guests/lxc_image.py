"""The root directories that the lab's containers are cloned from: a plain Debian, and the template made of it.

Both lie in IMAGES under a digest of what they were made of, so that checkouts with different agents have templates of
their own, and nothing is built twice.
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
from orchestrator.lab.guests import throwaway
from orchestrator.lab.guests.lxc_files import network_file
from orchestrator.lab.guests.template import REPOSITORY

IMAGES = Path("/var/cache/hostwright/images")
SUITE = "bookworm"
INCLUDED = ("systemd-sysv", "python3", "iproute2", "procps")
# networkd takes the network's file that the host writes; with no DNS in there, a resolver would only wait.
CUSTOMISE = (
    'chroot "$1" systemctl enable --quiet systemd-networkd',
    'rm -f "$1"/etc/hostname; : > "$1"/etc/resolv.conf; : > "$1"/etc/machine-id',
)
SOURCES = ("agent", "roles/install_agent", "roles/seal_template", "playbooks/template.yml")
"""What a template is made of, besides Debian."""


def base_root() -> Path:
    """Where the plain Debian is, or would be."""
    return IMAGES / f"debian-{_digest([SUITE, *INCLUDED, *CUSTOMISE])}"


def template_root() -> Path:
    """Where the template of this checkout is, or would be."""
    files = sorted(path for source in SOURCES for path in _files(REPOSITORY / source))
    return IMAGES / f"template-{_digest([base_root().name, *(path.read_text() for path in files)])}"


def require_base() -> Path:
    """The plain Debian. Raises LabError when it was not built."""
    return _require(base_root())


def require_template(root: Path) -> None:
    """Raises LabError when there is no template of this checkout."""
    _require(root)


def build_base() -> Path:
    """Debian's packages in a directory: about a minute, and 250 MB."""

    def make(root: Path) -> None:
        hooks = [f"--customize-hook={line}" for line in CUSTOMISE]
        command = [
            "mmdebstrap",
            "--quiet",
            "--variant=apt",
            f"--include={','.join(INCLUDED)}",
            *hooks,
            SUITE,
            str(root),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"mmdebstrap failed: {_tail(done.stderr)}")

    return _build(base_root(), make)


def build_template() -> Path:
    """The plain Debian with the agent in it, by the very playbook that makes a template on Proxmox."""

    def make(root: Path) -> None:
        copied = subprocess.run(
            ["cp", "-a", str(require_base()), str(root)], capture_output=True, text=True, check=False
        )
        if copied.returncode:
            raise LabError(f"the plain Debian cannot be copied: {_tail(copied.stderr)}")
        with throwaway.running(f"hw-template-{os.getpid()}", f"dir:{root}", root) as container:
            played = subprocess.run(
                [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(throwaway.inventory(container)),
                 "playbooks/template.yml"],
                cwd=REPOSITORY, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            if played.returncode:
                raise LabError(f"playbooks/template.yml failed:\n{played.stdout.strip()}\n{played.stderr.strip()}")
        network_file(root).unlink()

    return _build(template_root(), make)


def _build(target: Path, make: Callable[[Path], None]) -> Path:
    """Make it under another name first: what is half-made is never taken for the whole."""
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


def _require(root: Path) -> Path:
    if not root.is_dir():
        raise LabError("the image of this checkout was not built: `make lab-setup` builds it")
    return root


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _files(source: Path) -> list[Path]:
    return (
        [source]
        if source.is_file()
        else [path for path in source.rglob("*") if path.suffix in (".py", ".yml", ".service")]
    )


def _tail(text: str) -> str:
    return " | ".join(text.strip().splitlines()[-3:])
