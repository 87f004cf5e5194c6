"""The only module that knows ansible-runner: one `ansible-playbook` process per run.

The run directory lies on tmpfs and is removed afterwards; the environment is a whitelist; secrets are in a 0600 file
that the action plugins read by name. A stopped run takes its whole process tree with it: ansible-core's workers call
setsid, so killing the process group would miss them.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import ansible_runner.runner
import pexpect
import psutil
from ansible_runner.interface import init_runner

from orchestrator.events import Event
from orchestrator.processes import die_with_parent
from orchestrator.settings import PROJECT_DIR

OPERATION_MARK = "HOSTWRIGHT_OPERATION"
"""The variable by which a run's processes are found after their worker died."""
_TMPFS = Path("/dev/shm")  # noqa: S108  # a private 0700 directory is made below it
_POLL_SECONDS = 0.2
"""How often the run asks whether it shall stop: the latency of a cancel."""
_KILL_SECONDS = 2
_KILL_ROUNDS = 5
"""A process may fork while its tree is being killed; what is still there after so many rounds cannot be killed."""
_BINARIES = Path(sys.executable).parent
"""ansible-playbook of our own environment, whatever PATH says; it looks for its helpers on PATH."""
_KEPT = ("HOME", "LANG", "LC_ALL", "TZ", "HOSTWRIGHT_STATE_DIR")


@dataclass(frozen=True)
class Run:
    """What to play, for which operation, with which variables and secrets."""

    operation_id: UUID
    playbooks: Sequence[Path]
    inventory: Path
    variables: Mapping[str, Any]
    secrets: Mapping[str, Any]
    state_dir: Path


class _PromptSpawn(pexpect.spawn):  # type: ignore[misc]
    """pexpect's child, tied to its worker, without the 0.1 s that it sleeps after every close when all has ended.

    A customer waits for that tenth: it is 7 % of an order on an idle lab
    (docs/adr/0006-prompt-close-of-runs.md).
    """

    def _spawnpty(self, args: Sequence[str], **options: Any) -> Any:
        # A playbook whose worker was killed must not go on: the operation is somebody else's after the lease.
        process = super()._spawnpty(args, **options | {"preexec_fn": die_with_parent(signal.SIGKILL)})
        process.delayafterclose = 0
        return process


ansible_runner.runner.pexpect.spawn = _PromptSpawn

Outcome = Literal["successful", "failed", "stopped"]


def play(run: Run, *, on_event: Callable[[Event], None], should_stop: Callable[[], bool]) -> Outcome:
    """Run the playbooks to their end, or until `should_stop` says so; then no process of it is left.

    `on_event` is called in this thread for every event and must not block. When it raises, the run is stopped and the
    error comes out of here.
    """
    broken: list[Exception] = []
    with _run_directory(run.operation_id) as directory:
        runner = _prepare(run, directory, _guarded(on_event, broken), lambda: bool(broken) or should_stop())
        try:
            status, _ = runner.run()
        finally:
            kill_leftovers(run.operation_id)
    if broken:
        raise broken[0]
    if status == "successful":
        return "successful"
    return "stopped" if runner.canceled else "failed"


def unsafe(value: Any) -> Any:
    """A customer's value as Ansible takes it literally: every string is marked, so that none is ever a template."""
    if isinstance(value, str):
        return {"__ansible_unsafe": value}
    if isinstance(value, dict):
        return {key: unsafe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [unsafe(item) for item in value]
    return value


def remove_leftovers(operation_id: UUID) -> None:
    """Remove what a dead worker left of an operation on this machine: processes, and the directory with secrets."""
    kill_leftovers(operation_id)
    for directory in _run_base().glob(f"{_run_prefix(operation_id)}*"):
        shutil.rmtree(directory, ignore_errors=True)


def kill_leftovers(operation_id: UUID) -> int:
    """Kill every process of this machine that carries the operation's mark; returns how many there were.

    All processes are looked at: one whose parent died is in nobody's tree.
    """
    mark = str(operation_id)
    killed = 0
    for _ in range(_KILL_ROUNDS):
        found = [process for process in psutil.process_iter() if _carries(process, mark)]
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + _KILL_SECONDS
        while not all(map(_has_ended, found)) and time.monotonic() < deadline:
            time.sleep(0.005)
        killed += len(found)
        if not found:
            break
    return killed


def _has_ended(process: psutil.Process) -> bool:
    """Without collecting its end, which is ansible-runner's or the init process's to do, in their own time."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(OPERATION_MARK) == mark
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


def _guarded(on_event: Callable[[Event], None], broken: list[Exception]) -> Callable[[Event], None]:
    """ansible-runner takes a handler's OSError for the end of a successful run; another leaves the playbook running."""

    def handle(event: Event) -> None:
        try:
            on_event(event)
        except Exception as error:  # noqa: BLE001  # whatever it is: kept, and raised when the run has stopped
            broken.append(error)

    return handle


def _run_base() -> Path:
    return _TMPFS if _TMPFS.is_dir() and os.access(_TMPFS, os.W_OK) else Path(tempfile.gettempdir())


def _run_prefix(operation_id: UUID) -> str:
    return f"hostwright-run-{operation_id}-"


@contextlib.contextmanager
def _run_directory(operation_id: UUID) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix=_run_prefix(operation_id), dir=_run_base()))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _prepare(run: Run, directory: Path, on_event: Callable[[Event], None], should_stop: Callable[[], bool]) -> Any:
    variables = _write_private(
        directory / "variables.json",
        dict(run.variables)
        | {
            "hostwright_state_dir": str(run.state_dir),
            "hostwright_secrets_file": str(_write_private(directory / "secrets.json", run.secrets)),
        },
    )

    def handle(event: Event) -> bool:
        on_event(event)
        return False  # the event's file is not kept

    def stop() -> bool:
        if not should_stop():
            return False
        kill_leftovers(run.operation_id)
        return True

    runner = init_runner(
        private_data_dir=str(directory),
        playbook=str(run.playbooks[0]),
        ident=str(run.operation_id),
        quiet=True,
        suppress_env_files=True,
        event_handler=handle,
        cancel_callback=stop,
    )
    config = runner.config
    config.command = [
        str(_BINARIES / "ansible-playbook"),
        "-i",
        str(run.inventory),
        "-e",
        f"@{variables}",
        *map(str, run.playbooks),
    ]
    config.cwd = str(PROJECT_DIR)
    config.pexpect_timeout = _POLL_SECONDS
    config.env = _environment(config.env, run, directory)
    return runner


def _environment(proposed: Mapping[str, str], run: Run, directory: Path) -> dict[str, str]:
    """A whitelist of ours, and what ansible-runner itself added for its callback plugin."""
    added = {key: value for key, value in proposed.items() if os.environ.get(key) != value}
    kept = {key: os.environ[key] for key in _KEPT if key in os.environ}
    return (
        kept
        | added
        | {
            "PATH": f"{_BINARIES}:{os.environ.get('PATH', os.defpath)}",
            OPERATION_MARK: str(run.operation_id),
            "ANSIBLE_CONFIG": str(PROJECT_DIR / "ansible.cfg"),
            "ANSIBLE_HOME": str(directory / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(directory / "ansible" / "tmp"),
            "HOSTWRIGHT_STATE_DIR": str(run.state_dir),
        }
    )


def _write_private(path: Path, value: Mapping[str, Any]) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file)
    return path
