"""Fixtures: a real PostgreSQL, and a fresh migrated database for each test.

The server is the embedded one, or the one HOSTWRIGHT_TEST_DATABASE_URL names (it must be allowed to create databases).
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from orchestrator.database import EmbeddedPostgres
from orchestrator.store import accounts
from orchestrator.store.connection import Database
from orchestrator.store.migrations import migrate

CUSTOMER = "acme"


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of a PostgreSQL server."""
    given = os.environ.get("HOSTWRIGHT_TEST_DATABASE_URL")
    if given:
        yield given
        return
    # Not below pytest's own directory: root's server runs as another user, who could not enter it.
    with tempfile.TemporaryDirectory(prefix="hostwright-pg-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o755)
        server = EmbeddedPostgres(Path(home))
        yield server.start()
        server.stop()


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """The name of a migrated database that the others are copied from."""
    name = f"hw_template_{uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    migrate(make_conninfo(server_url, dbname=name))
    return name


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """The URL of a fresh migrated database."""
    name = f"hw_test_{uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
        yield make_conninfo(server_url, dbname=name)
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A pool on a fresh database with one customer."""
    database = Database(database_url, size=8)
    database.open()
    accounts.ensure_customer(database, CUSTOMER)
    yield database
    database.close()
