"""What a database holds as a whole, for back-ups: its tables with their rows, its schema, and who else is in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import IsolationLevel, sql

from orchestrator.domain.errors import BackupError
from orchestrator.store.connection import Connection, connect, wrap_errors
from orchestrator.store.queries import fetch_rows

MIGRATIONS = "schema_migration"


@dataclass(frozen=True)
class Contents:
    """Of a database or of an archive."""

    rows: dict[str, int]
    """How many rows each table has."""
    migrations: dict[int, str]
    """The checksum of each migration that was applied, by version."""


@dataclass(frozen=True)
class Occupants:
    """What stands in the way of replacing a database."""

    objects: list[str]
    """Statements that drop what is in it: nothing, when it is empty."""
    sessions: int
    """Other connections to it."""
    leases: list[str]
    """Sentences about operations that a worker holds, as far as the database knows."""


def read_major(url: str) -> int:
    """The major version of the server. Raises StoreUnavailable."""
    with _connect(url) as connection:
        return connection.info.server_version // 10000


@contextmanager
def take_snapshot(url: str) -> Iterator[tuple[str, Contents]]:
    """Take a snapshot that pg_dump can share until the end. Yields its name and what is in it.

    Raises StoreUnavailable.
    """
    with _connect(url) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        # pg_dump may take any time.
        connection.execute("set local idle_in_transaction_session_timeout = 0")
        (row,) = fetch_rows(connection, "export_snapshot")
        yield row["snapshot"], _read_contents(connection)


def read_contents(url: str) -> Contents:
    """Read what is in a database now. Raises StoreUnavailable."""
    with _connect(url) as connection:
        return _read_contents(connection)


def read_occupants(url: str) -> Occupants:
    """Read what is in a database and who is connected to it. Raises StoreUnavailable."""
    with _connect(url) as connection:
        leased = fetch_rows(connection, "list_live_leases") if "operation" in _list_tables(connection) else []
        return Occupants(
            objects=[row["statement"] for row in fetch_rows(connection, "list_objects")],
            sessions=fetch_rows(connection, "count_sessions")[0]["sessions"],
            leases=[row["sentence"] for row in leased],
        )


def clear(url: str) -> None:
    """Drop all that is in the database, wholly or not at all.

    Raises BackupError when something belongs to somebody else, StoreUnavailable.
    """
    with _connect(url) as connection:
        try:
            for row in fetch_rows(connection, "list_objects"):
                connection.execute(row["statement"].encode())
        except psycopg.errors.InsufficientPrivilege as error:
            raise BackupError(f"the database cannot be emptied ({error}): restore into a new one") from error


@contextmanager
def _connect(url: str) -> Iterator[Connection]:
    """A connection whose work is one transaction."""
    with wrap_errors(), connect(url, autocommit=False) as connection:
        yield connection


def _read_contents(connection: Connection) -> Contents:
    rows = {}
    for table in _list_tables(connection):
        counted = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table))).fetchone()
        rows[table] = int(counted[0]) if counted else 0
    applied = fetch_rows(connection, "list_migrations") if MIGRATIONS in rows else []
    return Contents(rows=rows, migrations={row["version"]: row["checksum"] for row in applied})


def _list_tables(connection: Connection) -> list[str]:
    return [row["name"] for row in fetch_rows(connection, "list_tables")]
