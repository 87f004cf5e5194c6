"""The commands of customers, against a real API."""

import json
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.domain.errors import HostwrightError
from orchestrator.domain.operations import START, STOP
from orchestrator.domain.phases import Phase
from orchestrator.domain.updates import PhaseEntered
from orchestrator.store import endings, leases
from tests.support.fix_api import Api, Caller, lease_of
from tests.support.fix_stack import GAME
from tests.support.http_server import Answer, http_server


def run(api: Api, caller: Caller, *arguments: str) -> list[str]:
    """The lines that a command prints into a pipe."""
    result = CliRunner().invoke(app, [*arguments, "--url", api.url, "--token", str(caller.token)])
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_case_e4_wraps_no_line_in_a_pipe(api: Api) -> None:
    caller, message = api.customer(), "choosing " * 30 + "a VMID"
    (hint,) = run(api, caller, "list")
    assert hint.endswith("--watch`")
    row = api.claim(caller.order(GAME)["operationId"])
    leases.record(api.database, lease_of(row), [PhaseEntered(Phase.ALLOCATE_VMID, message)])
    assert any(line.endswith(message) for line in run(api, caller, "logs", str(row.id)))


@pytest.mark.parametrize("name", ["vmid", "hostname", "serverId"])
def test_case_e5_takes_every_name_that_a_server_has(api: Api, name: str) -> None:
    caller = api.customer()
    api.complete(caller.order(GAME))
    (server,) = caller.get("/api/instances").json()["instances"]
    given = str(server[name])
    assert json.loads("\n".join(run(api, caller, "show", given, "--json")))["serverId"] == server["serverId"]
    assert any(server["hostname"] in line for line in run(api, caller, "show", given))
    assert json.loads("\n".join(run(api, caller, "stop", given, "--json")))["serverId"] == server["serverId"]
    stopped = json.loads("\n".join(run(api, caller, "stop", given, "--json")))["operationId"]
    assert run(api, caller, "logs", given) == []
    row = api.claim(stopped)
    endings.complete(api.database, STOP, row.instance_id, lease_of(row))
    started = json.loads("\n".join(run(api, caller, "start", given, "--json")))
    assert started["serverId"] == server["serverId"]
    row = api.claim(started["operationId"])
    endings.complete(api.database, START, row.instance_id, lease_of(row))
    assert json.loads("\n".join(run(api, caller, "delete", given, "--json")))["serverId"] == server["serverId"]


def test_case_e5_names_a_server_that_is_not_there(api: Api) -> None:
    result = CliRunner().invoke(app, ["show", "../é", "--url", api.url, "--token", str(api.customer().token)])
    assert str(result.exception).startswith("there is no server ../é")


def test_case_e5_shows_operators_whose_the_servers_are(api: Api) -> None:
    caller, operator = api.customer(), api.caller(None)
    caller.order(GAME)
    head, *lines = run(api, operator, "list")
    assert "customer" in head
    assert any(str(caller.customer_id) in line for line in lines)
    assert "customer" not in run(api, caller, "list")[0]


def test_case_e5_tells_its_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"hostwright {version('hostwright')}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--key", "é"), ("--key", "a b"), ("--key", ""), ("--key", "\udcff"), ("--token", "tökén"),
        ("--world", "\udcff"), ("--url", "http://\udcff"), ("--url", "http://a\nb"), ("--url", "é"),
    ],
)  # fmt: skip
def test_case_e2_refuses_in_a_sentence_what_cannot_be_sent(api: Api, arguments: tuple[str, str]) -> None:
    caller = api.customer()
    given = {"--url": api.url, "--token": str(caller.token)} | dict([arguments])
    order = ["create", "game", "--variant", "vanilla", "--version", "1.21.7"]
    result = CliRunner().invoke(app, [*order, *(part for option in given.items() for part in option)])
    assert isinstance(result.exception, HostwrightError), result.exception
    named = (arguments[0].strip("-"), arguments[1], "not text")
    assert any(words in str(result.exception) for words in named)


def test_case_e2_names_an_address_that_is_no_hostwright() -> None:
    with http_server(lambda _: Answer(200, b"<html>")) as server:
        result = CliRunner().invoke(app, ["list", "--url", server.url, "--token", "t"])
    assert isinstance(result.exception, HostwrightError), result.exception
