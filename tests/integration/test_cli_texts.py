"""What the program prints on terminals and files that cannot take everything."""

import json
import os
from pathlib import Path

import pytest

from tests.support.fix_api import Api
from tests.support.fix_stack import GAME
from tests.support.terminal import Terminal, run, run_as_nobody

ENCODINGS = ("latin-1", "ascii", "ascii:strict", "cp1252", "utf-8")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "command", [["--help"], ["create", "game", "--help"], ["nonsense"], ["show", "5000", "é", "…"]]
)
def test_case_e2_prints_in_any_encoding(encoding: str, command: list[str]) -> None:
    done = run(*command, PYTHONIOENCODING=encoding)
    assert "Traceback" not in done.stderr
    assert (done.stdout + done.stderr).strip()
    terminal = Terminal(*command, PYTHONIOENCODING=encoding)
    assert "Traceback" not in terminal.read_until(lambda _: False)
    assert terminal.process.wait(60) == done.returncode


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_case_e2_prints_json_and_texts_of_others_in_any_encoding(api: Api, encoding: str) -> None:
    caller = api.customer()
    accepted = caller.order(GAME)
    row = api.claim(accepted["operationId"])
    with api.database.transaction() as connection:
        connection.execute("update instance set hostname = 'sèrver✓', vmid = null where id = %s", (row.instance_id,))
        connection.execute(
            "insert into operation_event (operation_id, seq, level, message) values (%s, 99, 'info', 'fertig ✓ è')",
            (row.id,),
        )
    access = {"HOSTWRIGHT_URL": api.url, "HOSTWRIGHT_TOKEN": str(caller.token), "PYTHONIOENCODING": encoding}
    listed = run("list", "--json", **access)
    assert json.loads(listed.stdout)[0]["hostname"].startswith("s") if encoding != "utf-8" else listed.stdout
    for command in (["list"], ["show", accepted["serverId"]], ["logs", str(row.id)]):
        done = run(*command, **access)
        assert (done.returncode, done.stderr) == (0, "")


def test_case_e2_names_a_file_that_cannot_be_written(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "x.dump", tmp_path / "nowhere" / "x.dump", Path("/proc/x.dump")):
        done = run("backup", str(place), HOSTWRIGHT_DATABASE_URL=database_url)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert str(place.parent) in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["customer", "show", "\udcff"], ["audit", "list", "--customer", "\udcff"]])
def test_case_e2_refuses_arguments_that_are_no_text(database_url: str, arguments: list[str]) -> None:
    done = run(*arguments, HOSTWRIGHT_DATABASE_URL=database_url)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_case_e2_names_a_file_that_another_user_owns(database_url: str, tmp_path: Path, command: str) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    environment = {"HOSTWRIGHT_DATABASE_URL": database_url, "HOME": "/nonexistent", "PATH": f"{closed}:/usr/bin:/bin"}
    if os.geteuid() != 0 or run_as_nobody("--version", **environment).returncode != 0:
        pytest.skip("only root can become another user, who must be able to read the checkout")
    done = run_as_nobody(command, str(closed / "x.dump"), **environment)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert "pg_dump cannot be used" not in done.stderr
