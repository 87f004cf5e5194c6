"""The command line as a process of its own, in a pipe or on a terminal of 80 columns."""

import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

COMMAND = [sys.executable, "-m", "orchestrator.cli"]
_ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a pipe to its end."""
    return _run([*COMMAND, *arguments], environment)


def run_as_nobody(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user without any rights, which only root can do."""
    return _run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *COMMAND, *arguments], environment)


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=os.environ | environment,
        cwd=_ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
        timeout=120,
        check=False,
    )


class Terminal:
    """A command on a terminal."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        """Start it."""
        mine, its = pty.openpty()
        ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._terminal = mine
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=os.environ | {"TERM": "xterm"} | environment,
            cwd=_ROOT,
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
        os.close(its)
        self.text = ""

    def read_until(self, seen: Callable[[str], bool]) -> str:
        """Read what it shows until that is seen or it has ended. Returns all of it."""
        while not seen(self.text):
            try:
                part = os.read(self._terminal, 65536)
            except OSError:  # nobody has the other end open any more
                break
            self.text += part.decode("utf-8", "replace")
        return self.text

    def interrupt(self) -> tuple[int, float]:
        """Press Ctrl-C. Returns its exit code, and after how many seconds it had ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.read_until(lambda _: False)
        return self.process.wait(60), time.monotonic() - began
