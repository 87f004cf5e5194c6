"""The options of the commands that run parts."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.cli.run.commands import load_up_settings


@pytest.mark.parametrize(
    ("option", "environment", "file", "concurrency"),
    [(None, None, None, 4), (None, "3", None, 3), (None, None, "2", 2), (5, "3", None, 5)],
    ids=["nothing", "environment", "file", "option over environment"],
)
def test_runs_as_many_operations_as_was_said(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    option: int | None,
    environment: str | None,
    file: str | None,
    concurrency: int,
) -> None:
    if environment is not None:
        monkeypatch.setenv("HOSTWRIGHT_CONCURRENCY", environment)
    if file is not None:
        (tmp_path / "hostwright.toml").write_text(f"concurrency = {file}")
        monkeypatch.setenv("HOSTWRIGHT_CONFIG", str(tmp_path / "hostwright.toml"))
    assert load_up_settings(concurrency=option).concurrency == concurrency


def test_tells_the_limit_over_all_workers_from_that_of_one() -> None:
    shown = CliRunner().invoke(app, ["worker", "--help"], terminal_width=200).output
    told = " ".join(shown.replace("│", " ").split())
    assert "Operations that run at once on all workers of the database together." in told
    assert "Operations that this worker runs at once; unset: `concurrency`." in told
