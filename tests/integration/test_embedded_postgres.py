"""The embedded PostgreSQL as a real server: who it runs as, who reaches it, and what it survives."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings import PROJECT_DIR
from orchestrator.store.embedded import EmbeddedPostgres

ROOT = os.geteuid() == 0
SUPERVISE = """
import pathlib, sys, time
from orchestrator.store.embedded import EmbeddedPostgres
server = EmbeddedPostgres(pathlib.Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@contextmanager
def directory(mode: int = 0o755) -> Iterator[Path]:
    # Not below pytest's own directory: root's server runs as another user, who could not enter it.
    with tempfile.TemporaryDirectory(prefix="hostwright-pg-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(mode)
        yield Path(home)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A state directory whose database is made once; every test starts and stops its own server in it."""
    with directory() as made:
        EmbeddedPostgres(made)
        yield made


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedPostgres]:
    """A server that the test starts, however often; it is stopped at the end."""
    server = EmbeddedPostgres(home)
    yield server
    server.stop()


def query(url: str, text: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(text.encode())
        return cursor.fetchall() if cursor.description else []


def ended(process: psutil.Process) -> bool:
    """Gone, or only its exit status is left."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pid_of(server: EmbeddedPostgres) -> int:
    assert server.pid is not None
    return server.pid


@contextmanager
def supervised(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(home)], stdout=subprocess.PIPE, cwd=PROJECT_DIR
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def server_pid(supervisor: subprocess.Popen[bytes]) -> int:
    assert supervisor.stdout is not None
    return int(supervisor.stdout.readline())


def test_runs_as_an_unprivileged_user(server: EmbeddedPostgres) -> None:
    server.start()
    main = psutil.Process(pid_of(server))
    assert 0 not in main.uids()
    assert ROOT or set(main.uids()) == {os.geteuid()}
    assert not ROOT or 0 not in main.gids()


def test_listens_on_a_private_socket_only(server: EmbeddedPostgres) -> None:
    url = server.start()
    main = psutil.Process(pid_of(server))
    assert main.net_connections("inet") == []
    assert stat.S_IMODE(server.sockets.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    assert query(url, "show listen_addresses") == [("",)]
    (socket,) = server.sockets.glob(".s.PGSQL.*[0-9]")
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700


def test_trusts_nobody_but_its_own_users(server: EmbeddedPostgres) -> None:
    url = server.start()
    rules = query(url, "select type, auth_method from pg_hba_file_rules")
    assert rules == [("local", "peer")]
    with pytest.raises(psycopg.OperationalError, match=r"[Pp]eer authentication failed"):
        psycopg.connect(url.replace("//hostwright@", "//postgres@"))


def test_keeps_data_over_a_restart(server: EmbeddedPostgres) -> None:
    url = server.start()
    query(url, "create table kept as select 7 as value")
    server.stop()
    assert server.pid is None
    assert not server.sockets.exists()
    assert server.start() == url
    assert query(url, "select value from kept") == [(7,)]
    query(url, "drop table kept")


def test_starts_again_after_the_server_was_killed(server: EmbeddedPostgres) -> None:
    url = server.start()
    query(url, "create table committed as select 8 as value")
    with closing(psycopg.connect(url)) as busy:
        busy.execute("create table lost (value integer)")
        os.kill(pid_of(server), signal.SIGKILL)
        assert server.start() == url
    assert query(url, "select value from committed") == [(8,)]
    assert query(url, "select from pg_tables where tablename = 'lost'") == []
    query(url, "drop table committed")


def test_dies_with_its_supervisor_and_lets_the_next_one_start(home: Path, server: EmbeddedPostgres) -> None:
    with supervised(home) as supervisor:
        old = psutil.Process(server_pid(supervisor))
        url = server.url
        query(url, "create table committed as select 9 as value")
        with closing(psycopg.connect(url)):  # somebody is still connected
            supervisor.kill()
            server.start()  # at once: the old server is still stopping
            assert ended(old)
    assert query(url, "select value from committed") == [(9,)]
    query(url, "drop table committed")


def test_stops_while_clients_are_connected(server: EmbeddedPostgres) -> None:
    with closing(psycopg.connect(server.start())) as client:
        main = psutil.Process(pid_of(server))
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 5
        assert ended(main)
        with pytest.raises(psycopg.OperationalError):
            client.execute("select 1")


def test_refuses_a_second_server_in_the_same_directory(home: Path, server: EmbeddedPostgres) -> None:
    url = server.start()
    with pytest.raises(ConfigurationError, match=f"process {server.pid}"):
        EmbeddedPostgres(home).start()
    assert query(url, "select 1") == [(1,)], "the first one is untouched"


def test_says_why_it_does_not_start(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    extra = server.data / "postgresql.auto.conf"
    good = extra.read_text()
    extra.write_text("no_such_setting = 1\n")
    try:
        with pytest.raises(ConfigurationError, match=r"PostgreSQL did not start: .*no_such_setting"):
            server.start()
    finally:
        extra.write_text(good)


def test_starts_after_its_first_start_was_killed() -> None:
    with directory() as home:
        with supervised(home) as supervisor:
            while not any((home / "postgres").glob("*/PG_VERSION")):
                assert supervisor.poll() is None
            supervisor.kill()
        server = EmbeddedPostgres(home)
        assert query(server.start(), "select 1") == [(1,)]
        server.stop()


def test_needs_a_state_directory_that_its_user_can_enter() -> None:
    with directory(0o700) as home:
        server = EmbeddedPostgres(home)
        if ROOT:
            with pytest.raises(ConfigurationError, match=r"cannot reach .* whose parents may be entered by everybody"):
                server.start()
            assert server.pid is None
        else:
            assert query(server.start(), "select 1") == [(1,)]
        server.stop()


def test_refuses_a_socket_directory_of_somebody_else(home: Path) -> None:
    server = EmbeddedPostgres(home)
    server.sockets.symlink_to(home)
    try:
        with pytest.raises(ConfigurationError, match="belongs to somebody else"):
            server.start()
    finally:
        server.sockets.unlink()
