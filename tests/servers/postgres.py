"""A PostgreSQL server of Debian's, set up as a production one: TCP and TLS, passwords, a role that may do little."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import trustme
from psycopg import sql
from psycopg.conninfo import make_conninfo

from orchestrator.processes import die_with_parent, stop
from tests.servers.programs import required

ROLE = "hostwright_tests"
"""May log in and make databases, and nothing else."""
HOST = "127.0.0.1"
_START_SECONDS = 30
_STOP_SECONDS = 30


@contextmanager
def private_postgres() -> Iterator[str]:
    """The URL of a running server, which nobody else uses and of which nothing is left afterwards."""
    home = Path(tempfile.mkdtemp(prefix="hostwright-postgres-"))
    try:
        user = run_as(home)
        password = secrets.token_hex(16)
        _initialise(home, user, password)
        with _running(home, user) as port:
            admin = make_conninfo(
                "", host=HOST, port=port, user="postgres", password=password, dbname="postgres",
                sslmode="verify-full", sslrootcert=str(home / "ca.pem"),
            )  # fmt: skip
            _wait_until_ready(admin, home)
            yield make_conninfo(admin, user=ROLE, password=_make_role(admin))
    finally:
        shutil.rmtree(home)


def run_as(home: Path) -> dict[str, Any]:
    """Whom the server runs as, for Popen: it refuses root, so root takes Debian's own user."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    os.chown(home, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _initialise(home: Path, user: dict[str, Any], password: str) -> None:
    """Make the data directory: text sorted as people do, not by bytes, as many production servers have it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(home / "ca.pem"))
    write_private(home / "server.pem", authority.issue_cert(HOST).private_key_and_cert_chain_pem.bytes(), user)
    write_private(home / "password", password.encode(), user)
    subprocess.run(
        [required("initdb"), "-D", home / "data", "-U", "postgres", "--pwfile", home / "password", "--encoding=UTF8",
         "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en", "--auth=scram-sha-256", "--no-instructions"],
        check=True, stdout=subprocess.DEVNULL, cwd=home, env={"LANG": "C.UTF-8"}, **user,
    )  # fmt: skip
    (home / "password").unlink()
    (home / "data" / "pg_hba.conf").write_text(f"hostssl all all {HOST}/32 scram-sha-256\n")


def write_private(path: Path, content: bytes, user: dict[str, Any]) -> None:
    path.touch(0o600)
    path.write_bytes(content)
    if user:
        os.chown(path, user["user"], user["group"])


@contextmanager
def _running(home: Path, user: dict[str, Any]) -> Iterator[int]:
    """The server's port, while it runs."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    settings = {
        "listen_addresses": HOST, "unix_socket_directories": "", "max_connections": 200,
        "ssl": "on", "ssl_cert_file": home / "server.pem", "ssl_key_file": home / "server.pem",
        "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off",  # as the tests' own server
    }  # fmt: skip
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [required("postgres"), "-D", home / "data", "-p", str(port), *options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home, env={"LANG": "C.UTF-8"},
            start_new_session=True, preexec_fn=die_with_parent(signal.SIGINT), **user,
        )  # fmt: skip
    try:
        yield port
    finally:
        server.send_signal(signal.SIGINT)
        assert stop(server, _STOP_SECONDS), "PostgreSQL did not stop by itself"


def _wait_until_ready(admin: str, home: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(admin).close()
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                log = (home / "server.log").read_text(errors="replace")
                raise RuntimeError(f"PostgreSQL does not start: {error}\n{log}") from None
            time.sleep(0.02)


def _make_role(admin: str) -> str:
    """Make the role; returns its password."""
    password = secrets.token_hex(16)
    statement = sql.SQL("create role {} login createdb nosuperuser nocreaterole noreplication password {}")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(statement.format(sql.Identifier(ROLE), sql.Literal(password)))
    return password
