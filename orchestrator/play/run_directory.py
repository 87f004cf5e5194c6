"""The directory of a run on tmpfs, and how its processes are found: by marks in their environment.

A run's directory holds secrets, and its processes change the outside world. Neither may outlive its worker: whoever
takes the operation over on this machine removes both, and every worker removes those of workers that are no more.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from uuid import UUID

import psutil

from orchestrator.domain.publications import Publication

OPERATION_MARK = "HOSTWRIGHT_OPERATION"
"""The variable by which a run's processes are found after their worker died."""
ATTEMPT_MARK = "HOSTWRIGHT_FENCING_TOKEN"
"""The variable that tells the processes of one attempt from those of a later one."""
LEASE_FILE = "HOSTWRIGHT_LEASE_FILE"
"""The variable that names the file with the end of the run's lease (orchestrator/drivers/lease.py)."""
RECORDED_FILE = "HOSTWRIGHT_RECORDED_FILE"
"""The variable that names the file with the publications that are recorded (orchestrator/drivers/recorded.py)."""
_TMPFS = Path("/dev/shm")  # noqa: S108  # a private 0700 directory is made below it
_PREFIX = "hostwright-run-"
_NAME = re.compile(r"hostwright-run-([0-9a-f-]{36})-(\d{1,18})-\w+")
_OWNER = "owner"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_START_FIELD = 19
"""Of /proc/PID/stat after the command's name: field 22, starttime (proc(5))."""
_KILL_SECONDS = 2
_KILL_ROUNDS = 5
"""A process may fork while its tree is being killed; what is still there after so many rounds cannot be killed."""


@contextlib.contextmanager
def make_run_directory(operation_id: UUID, fencing_token: int) -> Iterator[Path]:
    """A private directory, named after the attempt. It says who made it: nobody else removes it while they live."""
    prefix = f"{_PREFIX}{operation_id}-{fencing_token}-"
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=_run_base()))
    try:
        (directory / _OWNER).write_text(_identity(os.getpid()))
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class RecordedFile:
    """Tells the run's tasks which publications are in the database, so that they may be made."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "recorded.json"

    def write(self, publications: Iterable[Publication]) -> None:
        """Replace the file. When that fails the tasks wait in vain, and fail with a sentence of their own."""
        with contextlib.suppress(OSError):
            _replace(self.path, json.dumps([publication.as_dict() for publication in publications]))


class LeaseFile:
    """Tells the run's tasks until when they may act."""

    def __init__(self, path: Path, ends_at: Callable[[], float]) -> None:
        self.path = path
        self._ends_at = ends_at
        self._written: float | None = None
        self.update()

    def update(self) -> None:
        """Replace the file if the end has moved. When that fails the tasks stop at the last end they know."""
        ends_at = self._ends_at()
        if ends_at != self._written:
            with contextlib.suppress(OSError):
                _replace(self.path, repr(ends_at))
                self._written = ends_at


def kill_attempt(operation_id: UUID, fencing_token: int) -> None:
    """Kill every process of one attempt."""
    _kill(str(operation_id), range(fencing_token, fencing_token + 1))


def remove_leftovers(operation_id: UUID, fencing_token: int) -> None:
    """Remove what earlier attempts at an operation left on this machine: processes, and directories with secrets.

    `fencing_token` is that of the new attempt, whose own are spared.
    """
    _kill(str(operation_id), range(fencing_token))
    for owner, token, directory in _run_directories():
        if owner == str(operation_id) and token < fencing_token:
            shutil.rmtree(directory, ignore_errors=True)


def remove_orphans() -> None:
    """Remove the run directories, and what still runs for them, of workers on this machine that are no more."""
    for operation_id, token, directory in _run_directories():
        if not _owner_lives(directory):
            _kill(operation_id, range(token + 1))
            shutil.rmtree(directory, ignore_errors=True)


def _replace(path: Path, text: str) -> None:
    """Write a file that others read, so that they find the old text or the new one. Raises OSError."""
    making = path.with_suffix(".making")
    making.write_text(text)
    making.rename(path)


def _is_marked(environ: Mapping[str, str], operation_id: str, tokens: range) -> bool:
    token = environ.get(ATTEMPT_MARK, "")
    return environ.get(OPERATION_MARK) == operation_id and token.isdigit() and int(token) in tokens


def _kill(operation_id: str, tokens: range) -> None:
    """Kill every process of this machine that carries the marks of these attempts.

    All processes are looked at: one whose parent died is in nobody's tree.
    """
    for _ in range(_KILL_ROUNDS):
        found = [process for process in psutil.process_iter() if _is_marked(_environ(process), operation_id, tokens)]
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + _KILL_SECONDS
        while not all(map(_has_ended, found)) and time.monotonic() < deadline:
            time.sleep(0.005)
        if not found:
            break


def _has_ended(process: psutil.Process) -> bool:
    """Without collecting its end, which is ansible-runner's or the init process's to do, in their own time."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _environ(process: psutil.Process) -> Mapping[str, str]:
    try:
        environ: Mapping[str, str] = process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, OSError):
        return {}
    return environ


def _run_base() -> Path:
    return _TMPFS if _TMPFS.is_dir() and os.access(_TMPFS, os.W_OK) else Path(tempfile.gettempdir())


def _run_directories() -> Iterator[tuple[str, int, Path]]:
    """Operation, fencing token and path of every run directory that is ours: anybody may make one of such a name."""
    for directory in _run_base().glob(f"{_PREFIX}*"):
        named = _NAME.fullmatch(directory.name)
        with contextlib.suppress(OSError):
            if named and directory.lstat().st_uid == os.geteuid():
                yield named[1], int(named[2]), directory


def _owner_lives(directory: Path) -> bool:
    """Whether the process that made a run directory is still there; the start time tells a PID's next user apart."""
    try:
        owner = (directory / _OWNER).read_text()
        return not owner or _identity(int(owner.split()[1])) == owner
    except ProcessLookupError:
        return False
    except (OSError, ValueError, IndexError):
        # Just made, or just removed; one whose maker died in between holds no secrets yet.
        return True


def _identity(pid: int) -> str:
    """A process as nothing else is it: its number and its start in ticks since boot, which no clock moves.

    Raises ProcessLookupError.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    return f"{_BOOT.read_text().strip()} {pid} {stat.rpartition(')')[2].split()[_START_FIELD]}"
