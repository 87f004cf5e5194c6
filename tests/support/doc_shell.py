"""One bash in which the commands of a page run one after the other, as a reader runs them in one terminal."""

import os
import select
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.settings import PROJECT_DIR

SECONDS = 60
"""Within which one command must end."""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed, errors among it."""

    code: int
    output: str


class Shell:
    """A context manager; at its end the bash and whatever was started in it are gone."""

    def __init__(self, environment: Mapping[str, str], home: Path) -> None:
        self._output = home / "output"
        self._told, telling = os.pipe()
        self._telling = telling
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            cwd=PROJECT_DIR,
            env=dict(environment),
            pass_fds=[telling],
            text=True,
            start_new_session=True,
        )
        self._begun: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._begun:
            self._end(process)
        self._bash.communicate()
        os.close(self._told)
        os.close(self._telling)

    def run(self, command: str) -> Done:
        """Run it to its end, without a terminal and without input."""
        self._write(f"{{ {command}\n}} >{self._output} 2>&1 </dev/null {self._telling}>&-", "$?")
        return Done(self._read(), self._output.read_text(errors="replace"))

    def begin(self, command: str, log: Path) -> int:
        """Start one that goes on until it is stopped, and return its process."""
        self._write(f"{{ exec {command}\n}} >{log} 2>&1 </dev/null {self._telling}>&- &", "$!")
        self._begun.append(process := self._read())
        return process

    def _write(self, text: str, value: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(f"{text}\nprintf '%s\\n' {value} >&{self._telling}\n")
        self._bash.stdin.flush()

    def _read(self) -> int:
        ready, _, _ = select.select([self._told], [], [], SECONDS)
        if not ready:
            os.killpg(self._bash.pid, signal.SIGKILL)
            raise AssertionError(f"it did not end within {SECONDS} s")
        return int(os.read(self._told, 64))

    def _end(self, process: int) -> None:
        """Have one that was begun end, as its page says it does: by SIGTERM. Only bash can wait for it."""
        self.run(f"kill {process}; wait {process}; true")
