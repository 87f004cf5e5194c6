"""The lease of the worker that runs this playbook: when it has passed, nothing may be changed any more.

A worker prolongs its lease and replaces the file named by HOSTWRIGHT_LEASE_FILE: one decimal number, the
CLOCK_MONOTONIC time until which its run may act. A worker that is frozen, hangs or was killed does not, and by the end
of the lease another may act in its place. So a task looks for itself, and never at the wall clock, which may be wrong.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

VARIABLE = "HOSTWRIGHT_LEASE_FILE"
INTERVAL = 0.5
"""Seconds between two looks at the file."""


class Lease:
    """The lease of one task's process; `playbook` is the process that forked it, None when there is none."""

    def __init__(self, file: Path, playbook: int | None) -> None:
        self.process = os.getpid()
        self._file = file
        self._playbook = playbook
        # Whose lease cannot be read from the first may not act at all.
        self._until = -math.inf

    @property
    def left(self) -> float:
        """Seconds until it ends."""
        try:
            until = float(self._file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            until = self._until  # vanished or unreadable: what was known before still holds
        if math.isfinite(until):
            self._until = until
        return self._until - time.monotonic()

    def require(self) -> None:
        """Returns only while the lease holds; else the playbook and this process end at once."""
        if self.left > 0:
            return
        # Killed, not failed: a playbook that goes on would run its rescues and its next tasks. Once it is dead, its
        # number may be somebody else's.
        if self._playbook is not None and os.getppid() == self._playbook:
            os.kill(self._playbook, signal.SIGKILL)
        os.kill(self.process, signal.SIGKILL)

    def watch(self) -> None:
        """Ends them too while the task waits for something."""
        threading.Thread(target=self._look_on, name="lease", daemon=True).start()

    def _look_on(self) -> None:
        while True:
            self.require()
            time.sleep(max(0.0, min(INTERVAL, self.left)))


_held: Lease | None = None


def hold() -> None:
    """To be called when a task begins. Without a worker, by hand, there is no lease and nothing is watched."""
    global _held
    file = os.environ.get(VARIABLE)
    # A process that was forked has the variable of its parent, but not its thread.
    if file and (_held is None or _held.process != os.getpid()):
        playbook = multiprocessing.parent_process()
        _held = Lease(Path(file), playbook.pid if playbook else None)
        _held.watch()
    require()


def require() -> None:
    """To be called right before every request that changes something: a task may have been frozen meanwhile."""
    if _held is not None:
        _held.require()
