"""Databases that cannot be used: every command says in one sentence what is needed, and how to get it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.store import migrations
from orchestrator.store.connection import Database
from tests.support.fix_database import fresh_database, load_schema

NEWEST = migrations.read_migrations()[-1].version
ROOT = Path(__file__).parents[2]
ADMIN = (
    ["customer", "list"],
    ["customer", "set", "acme"],
    ["token", "create", "--name", "x", "--operator"],
    ["token", "list"],
    ["audit", "list"],
    ["audit", "prune", "--before", "2001-01-01"],
)
RUN = (["serve", "--port", "0"], ["worker"])


@contextmanager
def database_in(server_url: str, encoding: str, locale: str = "C") -> Iterator[str]:
    """The URL of an empty database of an encoding, dropped at the end."""
    name = sql.Identifier(f"hw_unfit_{uuid4().hex[:12]}")
    create = sql.SQL("create database {} encoding {} template template0 locale {}")
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(create.format(name, sql.Literal(encoding), sql.Literal(locale)))
        try:
            yield make_conninfo(server_url, dbname=name.as_string().strip('"'))
        finally:
            connection.execute(sql.SQL("drop database {} with (force)").format(name))


@pytest.fixture
def empty_url(server_url: str) -> Iterator[str]:
    """The URL of a database without anything in it."""
    with fresh_database(server_url, "unmigrated") as url:
        yield url


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with a secrets file, which a worker reads first."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "secrets.json").write_text("{}")
    (tmp_path / "lab" / "secrets.json").chmod(0o600)
    return tmp_path


def refused(url: str, arguments: list[str], state: Path, **environment: str) -> str:
    """The line about the database that a command ends with, run as people run it. `check` names more than that."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", *arguments],
        env=os.environ | {"HOSTWRIGHT_DATABASE_URL": url, "HOSTWRIGHT_STATE_DIR": str(state)} | environment,
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1, done.stderr
    assert len(lines) == 1 or arguments == ["check"], done.stderr
    assert lines[0].startswith("error: ")
    return lines[-1]


@pytest.mark.parametrize(
    "arguments", [["migrate"], ["check"], *RUN, ["customer", "list"], ["backup", "x.dump"]], ids=" ".join
)
def test_case_d1_refuses_a_database_that_is_not_in_utf8(server_url: str, state: Path, arguments: list[str]) -> None:
    for encoding in ("SQL_ASCII", "LATIN1"):
        with database_in(server_url, encoding) as url:
            said = refused(url, arguments, state)
        assert f"has the encoding {encoding}" in said
        assert "createdb --encoding=UTF8" in said


def test_case_d1_restores_into_no_other_encoding(
    database_url: str, server_url: str, state: Path, tmp_path: Path
) -> None:
    archive = str(tmp_path / "good.dump")
    assert CliRunner().invoke(app, ["backup", archive], env={"HOSTWRIGHT_DATABASE_URL": database_url}).exit_code == 0
    with database_in(server_url, "SQL_ASCII") as url:
        assert "has the encoding SQL_ASCII" in refused(url, ["restore", archive], state)
        with psycopg.connect(url) as connection:
            assert connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone() == (0,)


def test_case_d1_migrates_a_database_that_was_made_as_the_sentence_says(server_url: str) -> None:
    with database_in(server_url, "UTF8") as url:
        assert migrations.migrate(url)
        assert migrations.migrate(url) == []


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_case_d1_speaks_utf8_whatever_the_environment_says(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    for url in (empty_url, make_conninfo(empty_url, client_encoding=encoding)):
        migrations.migrate(url)
        assert migrations.migrate(url) == []
        database = Database(url, size=1)
        with database.connect() as connection:
            assert connection.execute("select 'é→'::text").fetchone() == ("é→",)


@pytest.mark.parametrize("arguments", [*RUN, *ADMIN, ["backup", "x.dump"]], ids=" ".join)
def test_case_d2_says_that_a_database_is_not_migrated(empty_url: str, state: Path, arguments: list[str]) -> None:
    assert "has no schema of Hostwright: run `hostwright migrate`" in refused(empty_url, arguments, state)


@pytest.mark.parametrize("arguments", [*RUN, *ADMIN], ids=" ".join)
def test_case_d2_says_that_a_database_is_too_old(empty_url: str, state: Path, arguments: list[str]) -> None:
    load_schema(empty_url, 1)
    assert f"has schema 1, this release needs {NEWEST}: run `hostwright migrate`" in refused(
        empty_url, arguments, state
    )


@pytest.mark.parametrize("arguments", [["migrate"], *RUN, *ADMIN], ids=" ".join)
def test_case_d2_says_that_a_database_is_too_new(database_url: str, state: Path, arguments: list[str]) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("insert into schema_migration (version, checksum) values (999, 'of the future')")
    assert f"has schema 999, this release knows {NEWEST}: start a newer release" in refused(
        database_url, arguments, state
    )


def test_case_d2_backs_up_a_database_that_is_still_to_be_migrated(empty_url: str, tmp_path: Path) -> None:
    load_schema(empty_url, 1)
    file = tmp_path / "before.dump"
    done = CliRunner().invoke(app, ["backup", str(file)], env={"HOSTWRIGHT_DATABASE_URL": empty_url})
    assert done.exit_code == 0, done.output
    assert "schema 1," in done.output
    assert file.exists()


def test_case_d2_says_that_a_role_may_not_make_tables(server_url: str, empty_url: str, state: Path) -> None:
    stranger = f"hw_stranger_{uuid4().hex[:12]}"
    make_schema_private = sql.SQL("create role {0}; create schema closed; grant usage on schema closed to {0}")
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(make_schema_private.format(sql.Identifier(stranger)))
        try:
            url = make_conninfo(empty_url, options=f"-c role={stranger} -c search_path=closed")
            said = refused(url, ["migrate"], state)
        finally:
            connection.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(stranger)))
    assert "permission denied for schema closed" in said
    assert "owner of the database" in said
