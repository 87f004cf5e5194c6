"""Processes of ours on machines of their own: a database server on TCP, and workers that reach it only there."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import psycopg

from orchestrator.processes import die_with_parent
from orchestrator.settings import PROJECT_DIR
from orchestrator.store.embedded import NAME, EmbeddedPostgres
from tests.chaos.parts import STOP_SECONDS, Part
from tests.hosts.network import Machine

_PORT = 5432


class RemotePostgres(EmbeddedPostgres):
    """The embedded server on a machine of its own, which it serves over TCP with a password.

    Its UNIX socket stays on the router, so that the watchers are never cut off.
    """

    def __init__(self, state_dir: Path, machine: Machine) -> None:
        """Describe the server, which does not run yet."""
        super().__init__(state_dir)
        self._machine = machine
        self._password = secrets.token_hex(16)
        self.remote_url = f"postgresql://{NAME}:{self._password}@{machine.address}:{_PORT}/{NAME}"

    def start(self) -> str:
        """Start the embedded server to make the data, and then start it again on its machine."""
        super().start()
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"alter role {NAME} password '{self._password}'".encode())
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host {NAME} {NAME} 10.77.0.0/16 scram-sha-256\n")
        assert self.pid is not None
        embedded = psutil.Process(self.pid)
        command, user, group = embedded.cmdline(), embedded.uids().real, embedded.gids().real
        self.stop()
        self.sockets.mkdir(mode=0o700)
        os.chown(self.sockets, user, group)
        listening = [
            f"listen_addresses={self._machine.address}" if one == "listen_addresses=" else one for one in command
        ]
        drop = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--pdeathsig=INT", "--"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._machine.enter("--net"), *drop, *listening],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={"LANG": "C.UTF-8", "PATH": os.environ["PATH"]},
                start_new_session=True,
            )  # fmt: skip
        self._wait_until_ready()
        return self.url


class RemotePart(Part):
    """A process of ours on a machine of its own."""

    def __init__(
        self, name: str, arguments: tuple[str, ...], environment: Mapping[str, str], log: Path, machine: Machine
    ) -> None:
        """Describe the process, which does not run yet."""
        super().__init__(name, arguments, environment, log)
        self.machine = machine

    def spawn(self) -> None:
        """Start the process. It ends with the machine, which ends with the thread that calls this."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.machine.enter(), "env", f"--chdir={PROJECT_DIR}", sys.executable, *self.arguments],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )  # fmt: skip
        self.wanted, self.killed = True, False

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Stop it like any part, but signal the process itself, because nsenter passes no signals on."""
        self.wanted = False
        if self.process is None:
            return True
        self.thaw()
        self._send(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._send(signal.SIGKILL)
            self.process.wait()
            return False
        return True

    def _send(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            for inside in psutil.Process(self.process.pid).children():
                inside.send_signal(number)
