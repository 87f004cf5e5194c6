"""`hostwright doctor`: one line for each thing that a worker needs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.store import sweep
from orchestrator.store.connection import Database
from tests.support.fix_database import fresh_database
from tests.support.fix_lab import Lab


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, database: Database, lab: Lab, tmp_path: Path) -> Path:
    """This database and lab, and secrets of the test's own."""
    path = tmp_path / "secrets.json"
    shutil.copy(lab.state_dir / "lab" / "secrets.json", path)
    path.chmod(0o600)
    monkeypatch.setenv("HOSTWRIGHT_DATABASE_URL", database.url)
    monkeypatch.setenv("HOSTWRIGHT_STATE_DIR", str(lab.state_dir))
    monkeypatch.setenv("HOSTWRIGHT_SECRETS_FILE", str(path))
    return path


def examine(code: int) -> dict[str, Any]:
    """What it says of each check, when it ends with this code."""
    result = CliRunner().invoke(app, ["doctor", "--json"], catch_exceptions=False)
    assert result.exit_code == code, result.output
    told = json.loads(result.output)
    assert told["ok"] is (code == 0)
    return {check["name"]: check["message"] for check in told["checks"]}


def test_case_a16_finds_nothing_wrong_where_a_worker_can_work(database: Database) -> None:
    sweep.worker_seen(database, "w")
    assert examine(0) == dict.fromkeys(("database", "inventory", "secrets", "self-test", "workers"))


def test_case_a16_names_secrets_that_all_may_read(database: Database, secrets: Path) -> None:
    secrets.chmod(0o644)
    wrong = {name: message for name, message in examine(1).items() if message}
    assert wrong.keys() == {"secrets", "self-test", "workers"}
    assert "chmod 600" in wrong["secrets"]
    assert "hostwright worker" in wrong["workers"]
    lines = CliRunner().invoke(app, ["doctor"]).output.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["database", "ok"], ["inventory", "ok"], ["secrets", "wrong"], ["self-test", "wrong"], ["workers", "wrong"],
    ]  # fmt: skip


def test_case_a15_has_ansibles_words_for_a_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    found = examine(1)
    assert "requires the locale encoding to be UTF-8" in found["self-test"]
    assert "requires the locale encoding to be UTF-8" in found["inventory"]


def test_names_a_database_without_migrations(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fresh_database(server_url, "empty") as url:
        monkeypatch.setenv("HOSTWRIGHT_DATABASE_URL", url)
        found = examine(1)
    assert "hostwright migrate" in found["database"]
    assert "hostwright migrate" in found["workers"]


def test_names_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTWRIGHT_DATABASE_URL", "postgresql://x@127.0.0.1:1/x")
    found = examine(1)
    assert found["database"]
    assert found["workers"]
    assert not found["inventory"]
