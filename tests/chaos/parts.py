"""The processes of a site. Each of them can be killed, frozen and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil

from orchestrator.domain.errors import ConfigurationError
from orchestrator.processes import die_with_parent, stop
from orchestrator.settings import PROJECT_DIR
from orchestrator.store.embedded import EmbeddedPostgres

STOP_SECONDS = 40


class Victim(Protocol):
    """What an attack is aimed at."""

    def kill(self) -> None:
        """Send SIGKILL."""

    def freeze(self) -> None:
        """Send SIGSTOP."""

    def thaw(self) -> None:
        """Send SIGCONT."""


class Part:
    """One process of ours. `wanted` says whether it should run."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Describe the process, which does not run yet."""
        self.name = name
        self.arguments = tuple(arguments)
        self.environment = dict(environment)
        self.log = log
        self.wanted = False
        self.killed = False
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the process that runs, or that ran last."""
        assert self.process is not None
        return self.process.pid

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self.process is None or self.process.poll() is not None

    def spawn(self) -> None:
        """Start the process. It ends with the thread that calls this."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=PROJECT_DIR,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        self.wanted, self.killed = True, False

    def kill(self) -> None:
        """Send SIGKILL. The site's supervisor starts the process again."""
        self.killed = True
        self._send(signal.SIGKILL)

    def freeze(self) -> None:
        """Send SIGSTOP to the process itself, and not to its children."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Send SIGCONT."""
        self._send(signal.SIGCONT)

    def leave(self) -> None:
        """Send SIGTERM. The process is not started again."""
        self.wanted = False
        self._send(signal.SIGTERM)

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Terminate the process, and kill it after `seconds`. Returns whether it ended by itself."""
        self.wanted = False
        if self.process is None:
            return True
        self.thaw()
        return stop(self.process, seconds)

    def _send(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)


class Postgres:
    """The site's database server as a part of it."""

    name = "postgres"

    def __init__(self, server: EmbeddedPostgres) -> None:
        """The server does not run yet."""
        self.server = server
        self.wanted = False

    @property
    def dead(self) -> bool:
        """Whether the server has ended."""
        return self.server.pid is None or not _alive(self.server.pid)

    def spawn(self) -> None:
        """Start the server. After a kill its old backends may prevent that for a moment, so it is tried again."""
        for last in (False,) * 50 + (True,):
            try:
                self.server.start()
            except ConfigurationError:
                if last:
                    raise
            else:
                break
        self.wanted = True

    def kill(self) -> None:
        """Send SIGKILL to the postmaster. The server crashes, and recovers at its next start."""
        self._send(signal.SIGKILL, tree=False)

    def freeze(self) -> None:
        """Send SIGSTOP to the whole server."""
        self._send(signal.SIGSTOP, tree=True)

    def thaw(self) -> None:
        """Send SIGCONT to the whole server."""
        self._send(signal.SIGCONT, tree=True)

    def stop(self) -> None:
        """Stop the server cleanly."""
        self.wanted = False
        if not self.dead:
            self.thaw()
        self.server.stop()

    def _send(self, number: signal.Signals, *, tree: bool) -> None:
        pid = self.server.pid
        if pid is None:
            return
        with suppress(psutil.NoSuchProcess):
            main = psutil.Process(pid)
            for process in [main, *(main.children(recursive=True) if tree else [])]:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)


class Processes:
    """Other processes by id, such as a playbook's tree. All are frozen together, but only the first one is killed."""

    def __init__(self, pids: Sequence[int]) -> None:
        """`pids` begins with the root of the tree."""
        self.pids = tuple(pids)

    def kill(self) -> None:
        """Send SIGKILL to the root."""
        self._send(signal.SIGKILL, self.pids[:1])

    def freeze(self) -> None:
        """Send SIGSTOP to all."""
        self._send(signal.SIGSTOP, self.pids)

    def thaw(self) -> None:
        """Send SIGCONT to all."""
        self._send(signal.SIGCONT, self.pids)

    @staticmethod
    def _send(number: signal.Signals, pids: Sequence[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
