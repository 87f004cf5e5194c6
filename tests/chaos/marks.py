"""The processes that carry an operation's mark. They are watched all the time, in /proc alone."""

import re
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Self

MARK = re.compile(rb"(?:^|\0)HOSTWRIGHT_OPERATION=([0-9a-f-]{36})(?:\0|$)")
RUN = re.compile(rb"hostwright-run-[0-9a-f-]{36}-([\w-]+)")
SCAN_SECONDS = 0.05
SETTLED_SECONDS = 3.0
"""A process gets its mark between fork and exec. One that has lived for so long without a mark gets none."""
_BIRTH_FIELD, _STATE_FIELD, _PARENT_FIELD = 19, 0, 1
"""Fields of /proc/<pid>/stat after the name, see proc(5)."""


@dataclass(frozen=True)
class Marked:
    """A living process of a run. `run` is the name of the run's directory in the process's environment."""

    pid: int
    parent: int
    operation: str
    run: str | None


@dataclass(frozen=True)
class TwoAlive:
    """Two runs of one operation lived at the same time."""

    operation: str
    runs: frozenset[str]


class Marks:
    """A thread that looks at all processes, used as a context manager."""

    def __init__(self) -> None:
        """Nothing is watched yet."""
        self._living: list[Marked] = []
        self._last_seen: dict[tuple[str, str | None], float] = {}
        self._unmarked: dict[tuple[int, bytes], float] = {}
        self._two: set[TwoAlive] = set()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="marks", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def living(self, operation: str) -> list[Marked]:
        """The processes that an operation has now, with the root of its playbook first."""
        found = [one for one in read_marked() if one.operation == operation]
        marked = {one.pid for one in found}
        return sorted(found, key=lambda one: (one.parent in marked, one.pid))

    def last_seen(self, operation: str, run: str | None) -> float:
        """When (monotonic) a process of this run was last seen; 0 when none ever was."""
        return self._last_seen.get((operation, run), 0.0)

    def two_alive(self, operation: str | None = None) -> list[TwoAlive]:
        """Every time that two runs of one operation were alive at once."""
        return [one for one in list(self._two) if operation in (None, one.operation)]

    def _watch(self) -> None:
        while not self._ending.wait(SCAN_SECONDS):
            self._living = read_marked(self._unmarked)
            now = time.monotonic()
            for one in self._living:
                self._last_seen[one.operation, one.run] = now
            self._two.update(confirm(find_two_runs(self._living)))


def find_two_runs(living: list[Marked]) -> dict[str, list[Marked]]:
    """The operations that have processes of more than one run."""
    runs: dict[str, dict[str, list[Marked]]] = defaultdict(lambda: defaultdict(list))
    for one in living:
        if one.run is not None:
            runs[one.operation][one.run].append(one)
    return {operation: list(chain(*found.values())) for operation, found in runs.items() if len(found) > 1}


def confirm(suspects: dict[str, list[Marked]]) -> set[TwoAlive]:
    """The suspects whose two runs are both still alive; some have ended while all processes were looked at."""
    found = set()
    for operation, processes in suspects.items():
        runs = frozenset(str(one.run) for one in processes if _is_alive(one.pid))
        if len(runs) > 1:
            found.add(TwoAlive(operation, runs))
    return found


def read_marked(unmarked: dict[tuple[int, bytes], float] | None = None) -> list[Marked]:
    """All marked processes. `unmarked` remembers, by pid and birth, those that need not be looked at again."""
    known = {} if unmarked is None else unmarked
    now, found, present = time.monotonic(), [], set()
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        pid = int(directory.name)
        try:
            fields = _read_stat(pid)
            key = (pid, fields[_BIRTH_FIELD])
            present.add(key)
            since = known.setdefault(key, now)
            if now - since > SETTLED_SECONDS or fields[_STATE_FIELD] in b"ZX":
                continue
            environment = (directory / "environ").read_bytes()
        except (OSError, IndexError):
            continue
        mark, run = MARK.search(environment), RUN.search(environment)
        if mark is not None:
            known[key] = now  # a marked process is looked at as long as it lives
            found.append(Marked(pid, int(fields[_PARENT_FIELD]), mark[1].decode(), run[1].decode() if run else None))
    for gone in set(known) - present:
        del known[gone]
    return found


def _read_stat(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()


def _is_alive(pid: int) -> bool:
    try:
        return _read_stat(pid)[_STATE_FIELD] not in b"ZX"
    except (OSError, IndexError):
        return False
