"""Runs ansible-playbook through ansible-runner, in one process for each run. No other module knows ansible-runner.

The run directory lies on tmpfs and is removed afterwards. The environment holds only what is listed here. The secrets
are in a 0600 file, from which the action plugins read them by name. When a run is stopped, all its processes are killed
by the marks in their environment: ansible-core's workers call setsid, so killing the process group would miss them.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import ansible_runner.runner
import pexpect
from ansible_runner.interface import init_runner

from orchestrator.drivers.edge.recorded import VARIABLE as RECORDED_FILE
from orchestrator.drivers.lease import VARIABLE as LEASE_FILE
from orchestrator.play import run_directory
from orchestrator.play.events import Event
from orchestrator.play.run_directory import ATTEMPT_MARK, OPERATION_MARK, LeaseFile, RecordedFile
from orchestrator.processes import die_with_parent
from orchestrator.settings import PROJECT_DIR

_POLL_SECONDS = 0.2
"""How often the run asks whether it must stop. A cancel takes as long to be noticed."""
_BINARIES = Path(sys.executable).parent
"""The directory of our own ansible-playbook and its helpers. A run's PATH begins with it."""
_KEPT = ("HOME", "LANG", "LC_ALL", "TZ", "HOSTWRIGHT_STATE_DIR")


@dataclass(frozen=True)
class Run:
    """The playbooks of a run, the attempt for which they are played, and their variables and secrets."""

    operation_id: UUID
    fencing_token: int
    playbooks: Sequence[Path]
    inventory: Path
    variables: Mapping[str, Any]
    secrets: Mapping[str, Any]
    state_dir: Path


class _PromptSpawn(pexpect.spawn):  # type: ignore[misc]
    """pexpect's child process, which dies with its worker, closes promptly and waits by no wall clock.

    pexpect sleeps 0.1 s after it has closed a child that has ended. A customer waits for that tenth, which is 7 % of an
    order on an idle lab (docs/adr/0006-prompt-close-of-runs.md). And it reckons by the wall clock how long it may read:
    when that is set back an hour, a silent run would be left alone for an hour.
    """

    def read_nonblocking(self, size: int = 1, timeout: float | None = -1) -> str:
        read: str = super().read_nonblocking(size, min(_POLL_SECONDS if timeout is None else timeout, _POLL_SECONDS))
        return read

    def _spawnpty(self, args: Sequence[str], **options: Any) -> Any:
        # A playbook whose worker was killed must not go on: after the lease another worker has the operation.
        process = super()._spawnpty(args, **options | {"preexec_fn": die_with_parent(signal.SIGKILL)})
        process.delayafterclose = 0
        return process


ansible_runner.runner.pexpect.spawn = _PromptSpawn

End = Literal["successful", "failed", "stopped"]


def play(
    run: Run,
    directory: Path,
    *,
    on_event: Callable[[Event], None],
    should_stop: Callable[[], bool],
    lease_ends_at: Callable[[], float],
) -> End:
    """Run the playbooks to their end, or until `should_stop` returns true. No process of the run is left afterwards.

    `directory` is the run directory (orchestrator.play.run_directory). `on_event` is called in this thread for every
    event and must not block. When it raises, the run is stopped and its error is raised here. `lease_ends_at` returns a
    time of time.monotonic(). The tasks watch that time themselves and end when it comes, because this process may stand
    still. Raises OSError, and stops the run, when a file of the run cannot be written, or could not be when it failed.
    """
    broken: list[Exception] = []
    lease = LeaseFile(directory / "lease", lease_ends_at)

    def must_stop() -> bool:
        try:
            if broken or should_stop():
                return True
            lease.update()
        except OSError as error:
            broken.append(error)
        return bool(broken)

    runner = _make_runner(run, directory, lease, _keep_errors(on_event, broken), must_stop)
    try:
        status, _ = runner.run()
    finally:
        run_directory.kill_attempt(run.operation_id, run.fencing_token)
    if broken:
        raise broken[0]
    if status == "successful":
        return "successful"
    if runner.canceled:
        return "stopped"
    run_directory.require_room(directory)
    return "failed"


def unsafe(value: Any) -> Any:
    """Return a customer's value with every string marked as unsafe, so that Ansible takes none for a template."""
    if isinstance(value, str):
        return {"__ansible_unsafe": value}
    if isinstance(value, dict):
        return {key: unsafe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [unsafe(item) for item in value]
    return value


def _keep_errors(on_event: Callable[[Event], None], broken: list[Exception]) -> Callable[[Event], None]:
    """Return a handler that raises nothing and puts errors into `broken`.

    ansible-runner takes an OSError of its handler for the end of a successful run. After another error it leaves the
    playbook running.
    """

    def handle(event: Event) -> None:
        try:
            on_event(event)
        except Exception as error:  # noqa: BLE001  # raised again by play() when the run has stopped
            broken.append(error)

    return handle


def _make_runner(
    run: Run,
    directory: Path,
    lease: LeaseFile,
    on_event: Callable[[Event], None],
    should_stop: Callable[[], bool],
) -> Any:
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
        run_directory.kill_attempt(run.operation_id, run.fencing_token)
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
    told = {LEASE_FILE: str(lease.path), RECORDED_FILE: str(RecordedFile(directory).path)}
    config.env = _make_environment(config.env, run, directory) | told
    return runner


def _make_environment(proposed: Mapping[str, str], run: Run, directory: Path) -> dict[str, str]:
    """Return the environment of a run: a list of our own, and what ansible-runner added for its callback plugin."""
    added = {key: value for key, value in proposed.items() if os.environ.get(key) != value}
    kept = {key: os.environ[key] for key in _KEPT if key in os.environ}
    return (
        kept
        | added
        | {
            "PATH": f"{_BINARIES}:{os.environ.get('PATH', os.defpath)}",
            OPERATION_MARK: str(run.operation_id),
            ATTEMPT_MARK: str(run.fencing_token),
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
