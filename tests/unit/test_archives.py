"""What an archive's text says, which programs are taken, and what keeps a database from being replaced."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.errors import BackupError, ConfigurationError
from orchestrator.store.archives import Tools, choose_tools, summarise
from orchestrator.store.backups import refuse_difference, refuse_occupants
from orchestrator.store.connection import hide_password
from orchestrator.store.contents import Contents, Occupants

DATA = rb"""--
-- Data for Name: instance; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.instance (id, spec) FROM stdin;
1	{"world": "COPY public.other (id) FROM stdin;"}
2	\\.
\.


COPY public.quota (customer_id) FROM stdin;
\.

COPY public.schema_migration (version, checksum, applied_at) FROM stdin;
1	abc	2026-01-01 00:00:00+00
2	def	2026-01-01 00:00:00+00
\.

SELECT pg_catalog.setval('public.audit_seq_seq', 2, true);
"""


def lines() -> Iterator[bytes]:
    yield from DATA.splitlines(keepends=True)


def test_counts_the_rows_of_each_table_and_knows_the_migrations() -> None:
    found = summarise(lines())
    assert found.rows == {"instance": 2, "quota": 0, "schema_migration": 2}
    assert found.migrations == {1: "abc", 2: "def"}


def test_knows_no_migrations_of_something_else() -> None:
    assert summarise([b"hello\n"]).migrations == {}


@pytest.mark.parametrize(("server", "major"), [(14, 15), (15, 15), (16, 17), (17, 17)])
def test_takes_programs_of_the_servers_version_or_the_next_newer(server: int, major: int) -> None:
    found = [Tools(Path("new"), 17), Tools(Path("old"), 15)]
    assert choose_tools(found, server).major == major


@pytest.mark.parametrize(("majors", "words"), [((17, 15), "this machine has 15, 17"), ((), "this machine has none")])
def test_names_the_package_when_all_programs_are_too_old(majors: tuple[int, ...], words: str) -> None:
    with pytest.raises(BackupError, match=f"PostgreSQL 18 or newer .*{words}.* postgresql-client-18"):
        choose_tools([Tools(Path("here"), major) for major in majors], 18)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Occupants([], 2, []), r"others are connected to the database \(2\): stop"),
        (Occupants(["drop table x"], 0, ["operation o is held by w until t"]), "held by w until t: make sure"),
        (Occupants(["drop table x"], 0, []), "the database is not empty: .* --replace"),
    ],
)
def test_refuses_a_database_that_is_used_or_not_empty(found: Occupants, words: str) -> None:
    with pytest.raises(BackupError, match=words):
        refuse_occupants(found, replace=False)


def test_replaces_only_what_nobody_uses() -> None:
    refuse_occupants(Occupants(["drop table x"], 0, []), replace=True)
    for used in (Occupants([], 1, []), Occupants([], 0, ["held"])):
        with pytest.raises(BackupError):
            refuse_occupants(used, replace=True)


def test_names_each_table_that_has_other_rows() -> None:
    held = Contents(rows={"instance": 2, "quota": 1, "token": 1}, migrations={1: "a"})
    refuse_difference(held, held, "the archive")
    with pytest.raises(
        BackupError, match=r"^the archive is not .*: instance has 1 rows and not 2; token has no rows and not 1$"
    ):
        refuse_difference(held, Contents(rows={"instance": 1, "quota": 1}, migrations={1: "a"}), "the archive")
    with pytest.raises(BackupError, match="theirs has 1 rows and not any"):
        refuse_difference(held, Contents(rows=held.rows | {"theirs": 1}, migrations={1: "a"}), "the archive")
    with pytest.raises(BackupError, match="other migrations"):
        refuse_difference(held, Contents(rows=held.rows, migrations={1: "b"}), "the archive")


def test_keeps_a_password_out_of_the_arguments() -> None:
    address, environment = hide_password("postgresql://user:se%20cret@host:5433/name?sslmode=verify-full")
    assert environment == {"PGPASSWORD": "se cret"}
    assert "cret" not in address
    assert "sslmode=verify-full" in address
    assert hide_password("postgresql://user@/name?host=/run") == ("user=user dbname=name host=/run", {})


def test_gives_the_password_to_a_program_in_its_environment_only(tmp_path: Path) -> None:
    program, seen = tmp_path / "pg_dump", tmp_path / "seen"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" "$PGPASSWORD" > {seen}\necho "no such thing" >&2\nexit 1\n')
    program.chmod(0o755)
    with pytest.raises(BackupError, match=r"^pg_dump of PostgreSQL 99 says: no such thing$"):
        Tools(tmp_path, 99).run("pg_dump", "--version", url="postgresql://user:secret@host/name")
    assert seen.read_text().splitlines() == [
        "--dbname=user=user dbname=name host=host --no-password --version",
        "secret",
    ]


def test_refuses_a_secret_that_only_fits_into_the_arguments() -> None:
    with pytest.raises(ConfigurationError, match="sslkey"):
        hide_password("postgresql://user@host/name?sslpassword=secret")
