"""Migrations: numbered SQL files, each applied once, in one transaction, under an advisory lock."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import psycopg

from orchestrator.domain.errors import ConfigurationError
from orchestrator.store.connection import Connection, connect, wrap_errors
from orchestrator.store.sessions import require_own_session

_LOCK = 0x686F7374  # "host": any constant will do, it only has to be ours
_LOCK_TIMEOUT = "30s"


@dataclass(frozen=True)
class Migration:
    """One file: its number, its text and the checksum that shows a later edit."""

    version: int
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_migrations() -> list[Migration]:
    """Read the migrations of this release, in order."""
    folder = files("orchestrator.sql") / "migrations"
    named = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [Migration(int(name.split("_")[0]), (folder / name).read_text(encoding="utf-8")) for name in named]


def migrate(url: str) -> list[int]:
    """Bring a database up to this release. Returns the versions that were applied now.

    Raises ConfigurationError when a file was edited after it was applied, or when the database is newer than the code,
    is not in UTF8 or is somebody else's.
    """
    with wrap_errors(), connect(url) as connection:
        require_own_session(url, connection)
        connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
        connection.execute(
            "create table if not exists schema_migration ("
            "version integer primary key, checksum text not null, applied_at timestamptz not null default now())"
        )
        waiting = find_pending(_read_applied(connection))
        for migration in waiting:
            with connection.transaction():
                connection.execute(f"set local lock_timeout = '{_LOCK_TIMEOUT}'")
                connection.execute(migration.text.encode())
                connection.execute(
                    "insert into schema_migration (version, checksum) values (%s, %s)",
                    (migration.version, migration.checksum),
                )
        return [migration.version for migration in waiting]


def require_current(url: str) -> None:
    """Raise ConfigurationError when the database is not of this release, StoreUnavailable when it is away."""
    with wrap_errors(), connect(url) as connection:
        require_own_session(url, connection)
        try:
            applied = _read_applied(connection)
        except psycopg.errors.UndefinedTable:
            applied = {}
    if find_pending(applied):
        newest = read_migrations()[-1].version
        found = f"schema {max(applied)}, this release needs {newest}" if applied else "no schema of Hostwright"
        raise ConfigurationError(f"the database has {found}: run `hostwright migrate`")


def is_current(connection: Connection) -> bool:
    """Whether the database has every migration of this release."""
    try:
        return not find_pending(_read_applied(connection))
    except psycopg.errors.UndefinedTable:
        connection.rollback()
        return False


def _read_applied(connection: Connection) -> dict[int, str]:
    rows = connection.execute("select version, checksum from schema_migration").fetchall()
    return {int(str(version)): str(checksum) for version, checksum in rows}


def find_pending(applied: Mapping[int, str], subject: str = "the database") -> list[Migration]:
    """Find the migrations that are still to be applied where those with these checksums, by version, were.

    Raises ConfigurationError when the subject is newer than the code, or a file was edited since.
    """
    known = read_migrations()
    newest = known[-1].version
    if applied and max(applied) > newest:
        raise ConfigurationError(
            f"{subject} has schema {max(applied)}, this release knows {newest}: start a newer release"
        )
    for migration in known:
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise ConfigurationError(
                f"migration {migration.version} was edited after it was applied: restore the released file"
            )
    return [migration for migration in known if migration.version not in applied]
