"""The stack: all parts of Hostwright on one machine, started in order and stopped in reverse order."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn, Self

import httpx

from orchestrator.cli.client.api import RUN_FILE
from orchestrator.cli.run.listening import find_port
from orchestrator.domain.errors import ConfigurationError, HostwrightError
from orchestrator.processes import die_with_parent, stop
from orchestrator.settings import Settings
from orchestrator.store import accounts
from orchestrator.store.connection import Database
from orchestrator.store.embedded import EmbeddedPostgres, make_enterable
from orchestrator.store.migrations import migrate

DEMO_CUSTOMER = "demo"
_READY_SECONDS = 60
_STOP_SECONDS = 15


class Stack:
    """Database, lab, API and worker. A context manager: they are ready inside it, and stopped after it."""

    def __init__(
        self,
        settings: Settings,
        *,
        speed: float,
        say: Callable[[str], None],
        guests: str = "process",
        given: Collection[str] = (),
        fresh: bool = False,
    ) -> None:
        """`speed` multiplies the lab's durations, `guests` says what its containers are, `say` is told the progress.

        `given` are the settings that were given as options. With `fresh` the state of an earlier run is forgotten.
        """
        self.settings = settings
        self.given = given
        self.fresh = fresh
        self.speed = speed
        self.guests = guests
        self.say = say
        self.run: dict[str, Any] = {}
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self._postgres = None if settings.database_url else EmbeddedPostgres(settings.state_dir)
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def postgres_pid(self) -> int | None:
        """The process of the embedded database server, or None when another server is used."""
        return self._postgres.pid if self._postgres else None

    def wait(self) -> NoReturn:
        """Wait until a part ends by itself, and raise HostwrightError, which says why."""
        while (name := self._find_ended()) is None:
            time.sleep(0.2)
        raise HostwrightError(f"{name} ended by itself: {self._read_last_line(name)}")

    def _find_ended(self) -> str | None:
        """Return the name of a part that has ended by itself."""
        if self._postgres is not None and self._postgres.has_ended:
            return "postgres"
        return next((name for name, child in self.children.items() if child.poll() is not None), None)

    def _start(self) -> None:
        state = self.settings.state_dir
        self._take_state_dir()
        port = find_port(self.settings, self.given)
        url = f"http://{self.settings.host}:{port}"
        self.say("database")
        database_url = self._postgres.start() if self._postgres else str(self.settings.database_url)
        migrate(database_url)
        tokens = self._get_tokens(database_url)
        self.say("lab")
        (state / "lab" / "lab.json").unlink(missing_ok=True)
        self._spawn(
            "lab", "-m", "orchestrator.lab", "--state-dir", str(state), "--speed", str(self.speed),
            "--guests", self.guests,
            "--callback-url", f"{url}/internal/velocity/proxy-status",
        )  # fmt: skip
        lab = self._wait_for("lab", lambda: _read_json(state / "lab" / "lab.json"))
        self.say("API and worker")
        environment = self._make_environment(database_url, port)
        self._spawn("api", "-m", "orchestrator.cli", "serve", environment=environment)
        self._spawn("worker", "-m", "orchestrator.cli", "worker", environment=environment)
        self._wait_for("api", lambda: _is_ready(url))
        self.run = {"url": url, **tokens, "databaseUrl": database_url, "lab": lab}
        _write_private(state / RUN_FILE, self.run)

    def _stop(self) -> None:
        if self._lock is not None:  # otherwise the file belongs to another run
            (self.settings.state_dir / RUN_FILE).unlink(missing_ok=True)
        for name in ("worker", "api", "lab"):
            child = self.children.pop(name, None)
            if child is not None and not stop(child, _STOP_SECONDS):
                self.say(f"{name} did not stop by itself and was killed")
        if self._postgres is not None:
            self._postgres.stop()
        if self._lock is not None:
            self._lock.close()

    def _take_state_dir(self) -> None:
        state = self.settings.state_dir
        try:
            make_enterable(state)
            self._lock = _lock(state / "up.lock")
            if self.fresh:
                _empty(state, keep="up.lock")
            (state / "logs").mkdir(exist_ok=True)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"another `hostwright up` runs in {state}: stop it or name a --state-dir"
            ) from error
        except OSError as error:
            raise ConfigurationError(f"the state directory {state} cannot be used: {error.strerror}") from error

    def _get_tokens(self, url: str) -> dict[str, str]:
        """Read the tokens of the run before. Makes new ones when they are not valid any more."""
        path = self.settings.state_dir / "tokens.json"
        database = Database(url, size=2)
        database.open()
        try:
            kept = _read_json(path) or {}
            if kept and all(accounts.find_principal(database, token) for token in kept.values()):
                return kept
            accounts.ensure_customer(database, DEMO_CUSTOMER)
            made = {
                "operatorToken": accounts.create_token(database, name="up", customer_id=None),
                "customerToken": accounts.create_token(database, name="up", customer_id=DEMO_CUSTOMER),
            }
            _write_private(path, made)
            return made
        finally:
            database.close()

    def _make_environment(self, database_url: str, port: int) -> dict[str, str]:
        return {
            "HOSTWRIGHT_STATE_DIR": str(self.settings.state_dir),
            "HOSTWRIGHT_DATABASE_URL": database_url,
            "HOSTWRIGHT_HOST": self.settings.host,
            "HOSTWRIGHT_PORT": str(port),
            "HOSTWRIGHT_CONCURRENCY": str(self.settings.concurrency),
            # Ctrl-C shall not wait for operations: they go on at the next start.
            "HOSTWRIGHT_DRAIN_SECONDS": "0",
        }

    def _spawn(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        with (self.settings.state_dir / "logs" / f"{name}.log").open("ab") as log:
            self.children[name] = subprocess.Popen(
                [sys.executable, *arguments],
                env={
                    **os.environ,
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                    **(environment or {}),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )

    def _wait_for(self, name: str, ready: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            found = ready()
            if found:
                return found
            if (dead := self._find_ended()) is not None:
                raise ConfigurationError(f"{dead} did not start: {self._read_last_line(dead)}")
            time.sleep(0.02)
        raise ConfigurationError(f"{name} was not ready within {_READY_SECONDS} s: {self._read_last_line(name)}")

    def _read_last_line(self, name: str) -> str:
        path = self.settings.state_dir / "logs" / f"{name}.log"
        if name == "postgres" and self._postgres is not None:
            path = self._postgres.log
        lines = path.read_text(errors="replace").strip().splitlines() or ["its log is empty"]
        return f"{lines[-1]} (all of it: {path})"


def _lock(path: Path) -> IO[str]:
    """Open and lock a file until it is closed. Raises BlockingIOError when another process has locked it."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def _empty(directory: Path, *, keep: str) -> None:
    for each in directory.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        elif each.name != keep:
            each.unlink()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return data


def _write_private(path: Path, data: dict[str, Any]) -> None:
    making = path.with_name(f".{path.name}.making")
    descriptor = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=2)
    making.rename(path)
