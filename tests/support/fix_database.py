"""Fixtures: a real PostgreSQL, and a fresh migrated database for each test.

The server is the embedded one, or the one HOSTWRIGHT_TEST_DATABASE_URL names: its role needs no right but CREATEDB.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from orchestrator.store import accounts
from orchestrator.store.connection import Database
from orchestrator.store.embedded import EmbeddedPostgres
from orchestrator.store.migrations import migrate

CUSTOMER = "acme"


def given_server() -> str | None:
    """The URL of the server that the tests are told to use, if they are."""
    return os.environ.get("HOSTWRIGHT_TEST_DATABASE_URL")


@contextmanager
def fresh_database(server_url: str, purpose: str, *, template: str = "template1") -> Iterator[str]:
    """The URL of a database of its own, dropped at the end."""
    name = f"hw_{purpose}_{uuid4().hex[:12]}"
    _administer(server_url, "create database {} template {}", name, template)
    try:
        yield make_conninfo(server_url, dbname=name)
    finally:
        _administer(server_url, "drop database {} with (force)", name)


def _administer(server_url: str, statement: LiteralString, *names: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def load_schema(url: str, version: int) -> None:
    """Fill an empty database as code of an earlier schema has left it (tests/fixtures/schemas)."""
    dump = Path(__file__).parents[1] / "fixtures" / "schemas" / f"{version:04}.sql"
    with psycopg.connect(url) as connection:
        connection.execute(dump.read_bytes())


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    given = given_server()
    if given:
        yield given
        return
    # Not below pytest's own directory: root's server runs as another user, who could not enter it.
    with tempfile.TemporaryDirectory(prefix="hostwright-pg-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o755)
        server = EmbeddedPostgres(Path(home))
        url = server.start()
        _do_without_durability(url)
        yield url
        server.stop()


def _do_without_durability(url: str) -> None:
    """Let the server never wait for the disk: what a test writes need not survive a crash of the machine."""
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(sql.SQL("alter system set {} = off").format(sql.Identifier(setting)))
        connection.execute("select pg_reload_conf()")


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database that the others are copied from."""
    with fresh_database(server_url, "template") as url:
        migrate(url)
        yield str(conninfo_to_dict(url)["dbname"])


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """The URL of a fresh migrated database."""
    with fresh_database(server_url, "test", template=template) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A pool on a fresh database with one customer."""
    database = Database(database_url, size=8)
    database.open()
    accounts.ensure_customer(database, CUSTOMER)
    yield database
    database.close()
