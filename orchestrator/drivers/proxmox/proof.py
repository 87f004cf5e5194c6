"""Which tokens have worked: a 401 for one of them may pass, for any other it will not.

Every task of a playbook is a process of its own, and the next operation another playbook. So the proof is an empty file
in the state directory, whose name is a hash of the token and of where it worked.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

VARIABLE = "HOSTWRIGHT_STATE_DIR"
_PREFIX = "proxmox-token-worked-"
_known: set[str] = set()


def note_that_it_works(place: str, token: str) -> None:
    """To be called on every answer that only a good token gets; `place` says where, and as whom."""
    name = _name(place, token)
    if name in _known:
        return
    _known.add(name)
    directory = os.environ.get(VARIABLE)
    if directory:
        # Without the file, the next task takes a 401 for lasting until it has an answer of its own.
        with suppress(OSError):
            (Path(directory) / name).touch(0o600)


def has_worked(place: str, token: str) -> bool:
    name = _name(place, token)
    directory = os.environ.get(VARIABLE)
    return name in _known or (bool(directory) and (Path(directory or "") / name).exists())


def _name(place: str, token: str) -> str:
    return _PREFIX + hashlib.sha256(f"{place}={token}".encode()).hexdigest()[:32]
