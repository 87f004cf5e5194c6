"""The lab's own files in the state directory: one lab at a time, atomic writes, secrets that are made once."""

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.lab.errors import LabError

# The names in secrets.json. The read-only tokens have fewer rights than those that publish.
TOKENS = (
    "proxmox_token",
    "technitium_token",
    "technitium_readonly_token",
    "cloudflare_token",
    "cloudflare_readonly_token",
    "velocity_secret",
    "mc_router_token",
    "agent_token",
    "agent_master_secret",
    "billing_secret",
)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace the file in one step, so that a reader sees the old or the new content and never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)


def write_json(path: Path, value: Mapping[str, Any], *, mode: int = 0o644) -> None:
    write_atomic(path, (json.dumps(value, indent=2) + "\n").encode(), mode=mode)


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file, or an empty one when there is no file. Raises LabError when it is damaged."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise LabError(f"{path} is not JSON ({error}); delete it to start afresh") from error
    if not isinstance(value, dict):
        raise LabError(f"{path} does not hold a JSON object; delete it to start afresh")
    return value


def load_or_make_secrets(path: Path) -> dict[str, str]:
    """The secrets in the file; those that are missing are made. rfc2136_key is base64, as TSIG needs it."""
    known = read_json(path)
    values = {name: str(known.get(name) or secrets.token_urlsafe(32)) for name in TOKENS}
    values["rfc2136_key"] = str(known.get("rfc2136_key") or base64.b64encode(secrets.token_bytes(32)).decode())
    write_json(path, values, mode=0o600)
    return values


def lock_directory(state_dir: Path) -> tuple[Path, int]:
    """Make `<state_dir>/lab` (0700) and lock it until the returned descriptor is closed.

    Raises LabError when another lab has it, or when nothing can be written there."""
    directory = state_dir / "lab"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LabError(f"cannot write to the state directory {state_dir}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise LabError(f"another lab already runs in {state_dir}; stop it or give another --state-dir") from error
    return directory, lock
