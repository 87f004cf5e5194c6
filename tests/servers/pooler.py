"""Debian's pgbouncer in front of a PostgreSQL server."""

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
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from orchestrator.processes import die_with_parent, stop
from tests.servers.postgres import run_as, write_private
from tests.servers.programs import required

_START_SECONDS = 20


@contextmanager
def running_pooler(url: str, mode: str) -> Iterator[str]:
    """The URL by which a running pgbouncer reaches the same database; `mode` says when it lends a session to others."""
    home = Path(tempfile.mkdtemp(prefix="hostwright-pgbouncer-"))
    try:
        given = conninfo_to_dict(url)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        user = run_as(home)
        _configure(home, given, port, mode, user)
        process = subprocess.Popen(
            [required("pgbouncer"), home / "pgbouncer.ini"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=die_with_parent(signal.SIGINT), **user,
        )  # fmt: skip
        try:
            through = make_conninfo("", host="127.0.0.1", port=port, user=given["user"], dbname=given["dbname"])
            _wait_until_ready(through, home)
            yield through
        finally:
            stop(process, 20)
    finally:
        shutil.rmtree(home)


def _configure(home: Path, given: dict[str, Any], port: int, mode: str, user: dict[str, Any]) -> None:
    names = ("host", "port", "dbname", "user", "password")
    server = " ".join(f"{name}={given[name]}" for name in names if name in given)
    write_private(home / "users.txt", f'"{given["user"]}" ""\n'.encode(), user)
    settings = {
        "listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", "pool_mode": mode,
        "auth_type": "trust", "auth_file": home / "users.txt", "logfile": home / "log",
        "server_tls_sslmode": "require" if "sslmode" in given else "prefer",
    }  # fmt: skip
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
    text = f"[databases]\n{given['dbname']} = {server}\n[pgbouncer]\n{lines}"
    write_private(home / "pgbouncer.ini", text.encode(), user)


def _wait_until_ready(url: str, home: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.02)
