"""The processes of a site, each of which can be killed, frozen and started again."""

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
    """Whatever an attack is aimed at."""

    def kill(self) -> None:
        """SIGKILL."""

    def freeze(self) -> None:
        """SIGSTOP."""

    def thaw(self) -> None:
        """SIGCONT."""


class Part:
    """One process of ours; `wanted` says whether it shall run."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Name it; nothing runs yet."""
        self.name = name
        self.arguments = tuple(arguments)
        self.environment = dict(environment)
        self.log = log
        self.wanted = False
        self.killed = False
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process as it runs, or ran last."""
        assert self.process is not None
        return self.process.pid

    @property
    def dead(self) -> bool:
        """Whether it has ended."""
        return self.process is None or self.process.poll() is not None

    def spawn(self) -> None:
        """Start it. The process ends with the thread that calls this."""
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
        """SIGKILL; whoever supervises the site starts it again."""
        self.killed = True
        self._send(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP for the process itself, not for its children."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._send(signal.SIGCONT)

    def leave(self) -> None:
        """SIGTERM, and it is not started again."""
        self.wanted = False
        self._send(signal.SIGTERM)

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Ask it to end, and make it after so many seconds; whether it ended by itself."""
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
        """Nothing runs yet."""
        self.server = server
        self.wanted = False

    @property
    def dead(self) -> bool:
        """Whether the server has ended."""
        return self.server.pid is None or not _alive(self.server.pid)

    def spawn(self) -> None:
        """Start it. After a kill its old backends may hold it up for a moment: then it is tried again."""
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
        """SIGKILL for the postmaster: the server crashes, and recovers at its next start."""
        self._send(signal.SIGKILL, tree=False)

    def freeze(self) -> None:
        """SIGSTOP for the whole server."""
        self._send(signal.SIGSTOP, tree=True)

    def thaw(self) -> None:
        """SIGCONT for the whole server."""
        self._send(signal.SIGCONT, tree=True)

    def stop(self) -> None:
        """Stop it cleanly."""
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
    """Foreign processes by id, such as a playbook's tree: attacked together, the first one alone when killed."""

    def __init__(self, pids: Sequence[int]) -> None:
        """The root of the tree comes first."""
        self.pids = tuple(pids)

    def kill(self) -> None:
        """SIGKILL for the root."""
        self._send(signal.SIGKILL, self.pids[:1])

    def freeze(self) -> None:
        """SIGSTOP for all."""
        self._send(signal.SIGSTOP, self.pids)

    def thaw(self) -> None:
        """SIGCONT for all."""
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
