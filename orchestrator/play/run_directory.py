"""The directory of a run on tmpfs, and the marks in the environment by which the run's processes are found.

A run's directory holds secrets, and its processes change the outside world. Neither may outlive its worker. So the next
attempt at the operation on this machine removes both, and every worker removes those of dead workers.
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
"""The variable by which the processes of a run are found after their worker died."""
ATTEMPT_MARK = "HOSTWRIGHT_FENCING_TOKEN"
"""The variable that tells the processes of one attempt from those of a later one."""
_TMPFS = Path("/dev/shm")  # noqa: S108  # a private 0700 directory is made below it
_PREFIX = "hostwright-run-"
_NAME = re.compile(r"hostwright-run-([0-9a-f-]{36})-(\d{1,18})-\w+")
_OWNER = "owner"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_START_FIELD = 19
"""The index of starttime, field 22 of /proc/PID/stat, among the fields after the command's name (proc(5))."""
_ROOM_BYTES = 256 * 1024
"""About what the modules and events of one task take."""
_KILL_SECONDS = 2
_KILL_ROUNDS = 5
"""How often processes are killed and looked for again, because a process may fork while its tree is being killed."""


@contextlib.contextmanager
def make_run_directory(operation_id: UUID, fencing_token: int) -> Iterator[Path]:
    """Make a private directory, named after the attempt, and remove it at the end.

    A file in it names the process that made it. Nobody else removes the directory while that process lives.
    """
    prefix = f"{_PREFIX}{operation_id}-{fencing_token}-"
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=_choose_base()))
    try:
        (directory / _OWNER).write_text(_identify(os.getpid()))
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def require_room(directory: Path) -> None:
    """Raise OSError when a run directory has no room for what a run writes.

    A run that was ended by a full disk could not write that down.
    """
    with tempfile.TemporaryFile(dir=directory) as file:
        os.posix_fallocate(file.fileno(), 0, _ROOM_BYTES)


def describe_no_room(error: OSError) -> str:
    """Return a sentence for a run that cannot keep its files or cannot get a terminal."""
    return f"a run cannot keep its files ({error.strerror or error}): see to {_choose_base()} and /dev/pts"


class RecordedFile:
    """The file that tells the run's tasks which publications are in the database. Only those may be made."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "recorded.json"
        self.error: OSError | None = None

    def write(self, publications: Iterable[Publication]) -> None:
        """Replace the file. An error is kept, because the tasks wait in vain then."""
        try:
            _replace_file(self.path, json.dumps([publication.as_dict() for publication in publications]))
        except OSError as error:
            self.error = error


class LeaseFile:
    """The file that tells the run's tasks until when they may act."""

    def __init__(self, path: Path, ends_at: Callable[[], float]) -> None:
        self.path = path
        self._ends_at = ends_at
        self._written: float | None = None
        self.update()

    def update(self) -> None:
        """Replace the file if the end of the lease has moved. Raises OSError."""
        ends_at = self._ends_at()
        if ends_at != self._written:
            _replace_file(self.path, repr(ends_at))
            self._written = ends_at


def kill_attempt(operation_id: UUID, fencing_token: int) -> None:
    """Kill every process of one attempt."""
    _kill_marked(str(operation_id), range(fencing_token, fencing_token + 1))


def remove_leftovers(operation_id: UUID, fencing_token: int) -> None:
    """Remove the processes and run directories that earlier attempts at an operation left on this machine.

    `fencing_token` is the token of the new attempt, whose own processes and directory are spared.
    """
    _kill_marked(str(operation_id), range(fencing_token))
    for owner, token, directory in _find_run_directories():
        if owner == str(operation_id) and token < fencing_token:
            shutil.rmtree(directory, ignore_errors=True)


def remove_orphans() -> None:
    """Remove the run directories of dead workers of this machine, and the processes that still run for them."""
    for operation_id, token, directory in _find_run_directories():
        if not _owner_lives(directory):
            _kill_marked(operation_id, range(token + 1))
            shutil.rmtree(directory, ignore_errors=True)


def _replace_file(path: Path, text: str) -> None:
    """Write a file in one step, so that readers find the old text or the new one. Raises OSError."""
    making = path.with_suffix(".making")
    making.write_text(text)
    making.rename(path)


def _is_marked(environ: Mapping[str, str], operation_id: str, tokens: range) -> bool:
    token = environ.get(ATTEMPT_MARK, "")
    return environ.get(OPERATION_MARK) == operation_id and token.isdigit() and int(token) in tokens


def _kill_marked(operation_id: str, tokens: range) -> None:
    """Kill every process of this machine that carries the marks of these attempts.

    It looks at all processes, because a process whose parent died is in no tree of ours.
    """
    for _ in range(_KILL_ROUNDS):
        found = [
            process for process in psutil.process_iter() if _is_marked(_read_environment(process), operation_id, tokens)
        ]
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + _KILL_SECONDS
        while not all(map(_has_ended, found)) and time.monotonic() < deadline:
            time.sleep(0.005)
        if not found:
            break


def _has_ended(process: psutil.Process) -> bool:
    """Return whether a process has ended. It does not reap the process: ansible-runner or the init process does."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _read_environment(process: psutil.Process) -> Mapping[str, str]:
    try:
        environ: Mapping[str, str] = process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, OSError):
        return {}
    return environ


def _choose_base() -> Path:
    return _TMPFS if _TMPFS.is_dir() and os.access(_TMPFS, os.W_OK) else Path(tempfile.gettempdir())


def _find_run_directories() -> Iterator[tuple[str, int, Path]]:
    """Yield operation, fencing token and path of every run directory.

    Another user may make a directory of such a name, so only those of our own user count.
    """
    for directory in _choose_base().glob(f"{_PREFIX}*"):
        named = _NAME.fullmatch(directory.name)
        with contextlib.suppress(OSError):
            if named and directory.lstat().st_uid == os.geteuid():
                yield named[1], int(named[2]), directory


def _owner_lives(directory: Path) -> bool:
    """Return whether the process that made a run directory still lives.

    The start time tells it from a later process with the same PID.
    """
    try:
        owner = (directory / _OWNER).read_text()
        return not owner or _identify(int(owner.split()[1])) == owner
    except ProcessLookupError:
        return False
    except (OSError, ValueError, IndexError):
        # The directory was just made or just removed. If its process died just after making it, it holds no secrets.
        return True


def _identify(pid: int) -> str:
    """Return a text that identifies a process: the boot, the PID, and its start in ticks since boot.

    Unlike a time, ticks since boot do not depend on the clock. Raises ProcessLookupError.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    return f"{_BOOT.read_text().strip()} {pid} {stat.rpartition(')')[2].split()[_START_FIELD]}"
