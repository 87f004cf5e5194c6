"""The options with which a command says what API it speaks to."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from orchestrator.cli.client.api import RUN_FILE, Client
from orchestrator.cli.client.connection import with_client
from orchestrator.cli.main import app
from orchestrator.domain.errors import ConfigurationError

NEITHER = {"HOSTWRIGHT_URL": "", "HOSTWRIGHT_TOKEN": "", "HOSTWRIGHT_STATE_DIR": ""}


def run(*arguments: str, **environment: str) -> list[str]:
    """What a command of ours is called with. Raises what it raises."""
    ours = typer.Typer()

    @ours.command()
    @with_client
    def show(client: Client, server: str, loud: bool = False) -> None:
        print(client.url, client.token, server, loud)

    given: Mapping[str, str] = NEITHER | environment
    result = CliRunner().invoke(ours, list(arguments), env=given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output.split()


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """That of a running `hostwright up`."""
    run = {"url": "http://here", "operatorToken": "of-operator", "customerToken": "of-customer"}
    (tmp_path / RUN_FILE).write_text(json.dumps(run))
    return tmp_path


def test_takes_address_and_token_beside_the_own_options() -> None:
    given = ["5000", "--url", "http://there/", "--token", "t", "--loud"]
    assert run(*given) == ["http://there", "t", "5000", "True"]
    assert run("5000", HOSTWRIGHT_URL="http://there", HOSTWRIGHT_TOKEN="t") == ["http://there", "t", "5000", "False"]


def test_finds_the_running_stack_by_its_state_directory(state_dir: Path) -> None:
    directory = ["--state-dir", str(state_dir)]
    assert run("1", *directory) == ["http://here", "of-customer", "1", "False"]
    assert run("1", *directory, "--operator") == ["http://here", "of-operator", "1", "False"]
    assert run("1", *directory, "--token", "t") == ["http://here", "t", "1", "False"]
    assert run("1", HOSTWRIGHT_STATE_DIR=str(state_dir)) == ["http://here", "of-customer", "1", "False"]


def test_takes_no_token_besides_that_of_the_operator(state_dir: Path) -> None:
    given = ["1", "--state-dir", str(state_dir), "--operator"]
    for more, environment in ((["--token", "t"], {}), ([], {"HOSTWRIGHT_TOKEN": "t"})):
        with pytest.raises(ConfigurationError, match="leave out --token and HOSTWRIGHT_TOKEN"):
            run(*given, *more, **environment)


def test_sends_the_token_of_the_running_stack_nowhere_else(state_dir: Path) -> None:
    directory = ["--state-dir", str(state_dir)]
    assert run("1", *directory, "--url", "http://here/") == ["http://here", "of-customer", "1", "False"]
    for more in ([], ["--operator"]):
        with pytest.raises(ConfigurationError, match="there is no token for http://there"):
            run("1", *directory, *more, "--url", "http://there")


def test_says_what_to_do_when_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="start `hostwright up --lab`"):
        run("1", "--state-dir", str(tmp_path))


@pytest.mark.parametrize(
    "command",
    ["list", "show", "watch", "logs", "start", "stop", "delete", "cancel", "retry", "create game", "create dev"],
)
def test_offers_the_same_options_after_every_command(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"], terminal_width=200).output
    for option in ("--url", "--token", "--state-dir", "--operator"):
        assert option in shown, option
