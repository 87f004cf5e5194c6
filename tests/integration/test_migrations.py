"""Migrations on a real, empty database."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from orchestrator.domain.errors import ConfigurationError, StoreUnavailable
from orchestrator.store import migrations
from tests.support.fix_database import fresh_database

VERSIONS = [migration.version for migration in migrations.read_migrations()]


@pytest.fixture
def empty_url(server_url: str) -> Iterator[str]:
    """The URL of a database without anything in it."""
    with fresh_database(server_url, "empty") as url:
        yield url


def execute(url: str, text: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(text.encode())


def applied(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("select version from schema_migration order by version")]


def is_current(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return migrations.is_current(connection)


def test_numbers_the_files_without_gaps() -> None:
    assert list(range(1, len(VERSIONS) + 1)) == VERSIONS


def test_applies_each_file_once(empty_url: str) -> None:
    assert not is_current(empty_url)
    assert migrations.migrate(empty_url) == VERSIONS
    assert is_current(empty_url)
    assert migrations.migrate(empty_url) == []
    assert applied(empty_url) == VERSIONS


def test_applies_once_when_three_run_at_once(empty_url: str) -> None:
    together = threading.Barrier(3)

    def migrate(_: int) -> list[int]:
        together.wait(10)
        return migrations.migrate(empty_url)

    with ThreadPoolExecutor(3) as threads:
        done = sorted(threads.map(migrate, range(3)))
    assert done == [[], [], VERSIONS]
    assert applied(empty_url) == VERSIONS


def test_waits_for_another_runner_that_holds_the_lock(empty_url: str) -> None:
    with psycopg.connect(empty_url, autocommit=True) as other, ThreadPoolExecutor(1) as threads:
        other.execute("select pg_advisory_lock(%s)", (migrations._LOCK,))
        waiting = threads.submit(migrations.migrate, empty_url)
        waits = "select from pg_locks where locktype = 'advisory' and not granted"
        while other.execute(waits.encode()).fetchone() is None:
            assert not waiting.done()
        other.execute("select pg_advisory_unlock(%s)", (migrations._LOCK,))
        assert waiting.result(10) == VERSIONS


def test_refuses_a_file_that_was_edited_after_it_was_applied(empty_url: str) -> None:
    migrations.migrate(empty_url)
    execute(empty_url, "update schema_migration set checksum = 'of another text' where version = 1")
    with pytest.raises(ConfigurationError, match="migration 1 was edited after it was applied: restore"):
        migrations.migrate(empty_url)
    with pytest.raises(ConfigurationError, match="edited"):
        is_current(empty_url)


def test_refuses_a_database_that_is_newer(empty_url: str) -> None:
    migrations.migrate(empty_url)
    execute(empty_url, "insert into schema_migration (version, checksum) values (999, 'of the future')")
    with pytest.raises(ConfigurationError, match="schema 999, this release knows"):
        migrations.migrate(empty_url)
    assert applied(empty_url) == [*VERSIONS, 999]


def test_leaves_nothing_of_a_file_that_fails(empty_url: str) -> None:
    execute(empty_url, "create table worker (theirs integer)")
    with pytest.raises(psycopg.errors.DuplicateTable):
        migrations.migrate(empty_url)
    assert applied(empty_url) == []
    with psycopg.connect(empty_url) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    assert sorted(tables) == [("schema_migration",), ("worker",)]
    execute(empty_url, "drop table worker")
    assert migrations.migrate(empty_url) == VERSIONS


def test_raises_store_unavailable_without_a_database(server_url: str) -> None:
    with pytest.raises(StoreUnavailable, match="no_such_database"):
        migrations.migrate(make_conninfo(server_url, dbname="no_such_database"))
