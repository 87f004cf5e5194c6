"""`hostwright backup` and `hostwright restore` on a real database: all rows are there again, or nothing is changed."""

import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.domain.errors import HostwrightError
from orchestrator.store import accounts, archives, audit, contents
from orchestrator.store.connection import Database
from orchestrator.store.migrations import migrate, read_migrations
from tests.support.fix_database import CUSTOMER, fresh_database, load_schema
from tests.support.storage import instance, provision, query, start

NEWEST = read_migrations()[-1].version


@pytest.fixture
def other_url(server_url: str) -> Iterator[str]:
    """An empty database to restore into."""
    with fresh_database(server_url, "restored") as url:
        yield url


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hostwright.dump"


def run(url: str, *arguments: str | Path) -> str:
    """What a command prints on this database. Raises what it raises."""
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"HOSTWRIGHT_DATABASE_URL": url})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def refused(url: str, *arguments: str | Path) -> str:
    """Why a command ends with an error."""
    with pytest.raises(HostwrightError) as caught:
        run(url, *arguments)
    return str(caught.value)


def held(url: str) -> dict[str, int]:
    """How many rows each table has, without the log that every command appends to."""
    rows = contents.read_contents(url).rows
    return {name: count for name, count in rows.items() if name != "audit"}


def execute(url: str, text: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(text.encode())


def test_brings_back_every_row_in_another_database(
    database: Database, database_url: str, other_url: str, file: Path
) -> None:
    server = provision(database)
    token = accounts.create_token(database, name="portal", customer_id=CUSTOMER)
    before = held(database_url)
    told = run(database_url, "backup", file)
    assert f"schema {NEWEST}, " in told
    assert "instance 1" in told
    query(database, "delete from token")
    assert "restored schema" in run(other_url, "restore", file)
    assert held(other_url) == before
    restored = Database(other_url)
    restored.open()
    assert instance(restored, server.id) == server
    principal = accounts.find_principal(restored, token)
    assert principal is not None
    assert principal.customer_id == CUSTOMER
    assert provision(restored).vmid == 5001, "the range goes on where it stood"
    (entry,) = audit.list_entries(restored, limit=1)
    assert (entry.route, entry.target) == ("hostwright restore", str(file))
    restored.close()


def test_writes_a_file_that_only_its_owner_may_read(database: Database, database_url: str, file: Path) -> None:
    run(database_url, "backup", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == [file.name]
    entry = audit.list_entries(database, limit=1)[0]
    assert (entry.route, entry.target) == ("hostwright backup", str(file))


def test_overwrites_a_file_only_when_told_to(database_url: str, file: Path) -> None:
    file.write_text("precious")
    assert "exists already" in refused(database_url, "backup", file)
    assert file.read_text() == "precious"
    run(database_url, "backup", file, "--force")
    assert file.read_bytes().startswith(b"PGDMP")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_leaves_no_file_when_it_cannot_be_made(other_url: str, file: Path) -> None:
    assert "has no schema of Hostwright" in refused(other_url, "backup", file)
    assert list(file.parent.iterdir()) == []
    assert "cannot be written: No such file" in refused(other_url, "backup", file / "below" / "it")


def test_holds_one_moment_while_others_go_on(database: Database, database_url: str, other_url: str, file: Path) -> None:
    provision(database)
    with contents.take_snapshot(database_url) as (_, before):
        provision(database)
    assert before.rows["instance"] == 1
    start(database)
    run(database_url, "backup", file)
    run(other_url, "restore", file)
    assert held(other_url)["instance"] == 3


def test_migrates_a_backup_of_an_earlier_schema(server_url: str, other_url: str, file: Path) -> None:
    with fresh_database(server_url, "previous") as previous:
        load_schema(previous, 3)
        before = held(previous)
        run(previous, "backup", file)
    told = run(other_url, "restore", file)
    assert "schema 3" in told
    assert f"applied: {', '.join(str(number) for number in range(4, NEWEST + 1))}" in told
    assert held(other_url) == before | {"publication": 0, "customer_usage": 4, "schema_migration": NEWEST}


def test_refuses_a_backup_of_a_newer_release(database_url: str, other_url: str, file: Path) -> None:
    execute(database_url, "insert into schema_migration (version, checksum) values (999, 'of the future')")
    run(database_url, "backup", file)
    assert f"the back-up has schema 999, this release knows {NEWEST}" in refused(other_url, "restore", file)
    assert held(other_url) == {}


@pytest.mark.parametrize("cut", [0, 100, -200], ids=["empty", "head", "tail"])
def test_refuses_a_damaged_file_before_it_changes_anything(
    database_url: str, other_url: str, file: Path, cut: int
) -> None:
    run(database_url, "backup", file)
    file.write_bytes(file.read_bytes()[:cut])
    assert "cannot be read: pg_restore of PostgreSQL" in refused(other_url, "restore", file, "--replace")
    assert held(other_url) == {}


def test_refuses_a_backup_of_something_else(server_url: str, other_url: str, file: Path) -> None:
    execute(other_url, "create table theirs (id integer); insert into theirs values (1)")
    tools = archives.choose_tools(archives.find_tools(), contents.read_major(other_url))
    with contents.take_snapshot(other_url) as (snapshot, _):
        archives.write(file, other_url, tools, snapshot=snapshot)
    assert "is no back-up of Hostwright" in refused(other_url, "restore", file, "--replace")
    assert held(other_url) == {"theirs": 1}


def test_replaces_a_database_only_when_told_to(
    database: Database, database_url: str, server_url: str, file: Path
) -> None:
    provision(database)
    run(database_url, "backup", file)
    before = held(database_url)
    with fresh_database(server_url, "full") as full:
        migrate(full)
        execute(full, "create table theirs (id integer)")
        assert "is not empty" in refused(full, "restore", file)
        assert held(full)["theirs"] == 0
        run(full, "restore", file, "--replace")
        assert held(full) == before


def test_refuses_while_somebody_is_connected(database_url: str, other_url: str, file: Path) -> None:
    run(database_url, "backup", file)
    with psycopg.connect(other_url):
        assert "others are connected to the database (1)" in refused(other_url, "restore", file, "--replace")
    run(other_url, "restore", file)


def test_refuses_while_a_worker_may_still_run(database: Database, database_url: str, file: Path) -> None:
    lease = start(database)
    run(database_url, "backup", file)
    database.close()
    words = refused(database_url, "restore", file, "--replace")
    assert f"operation {lease.operation_id} is held by w until" in words
    execute(database_url, "update operation set lease_expires_at = now()")
    run(database_url, "restore", file, "--replace")
