"""The administrative commands, on a real database."""

import json

import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.errors import HostwrightError
from orchestrator.store import accounts
from orchestrator.store.connection import Database
from tests.fix_database import CUSTOMER


@pytest.fixture(autouse=True)
def _on_this_database(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("HOSTWRIGHT_DATABASE_URL", database_url)


def run(*arguments: str) -> str:
    """What a command prints. Raises what it raises."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    if isinstance(result.exception, HostwrightError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str) -> str:
    """Why a command ends with an error."""
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, HostwrightError), result.output
    return str(result.exception)


def shown(customer: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(run("customer", "show", customer, "--json"))
    return found


def test_sets_and_shows_a_customer(database: Database) -> None:
    run("customer", "set", "fresh", "--instances", "7", "--game", "5,-,20", "--dev", "1,2048,-")
    found = shown("fresh")
    assert found["limits"] == {
        "instances": 7, "memoryMiB": 131072, "cpuCores": 64,
        "game": {"instances": 5, "memoryMiB": None, "cpuCores": 20},
        "dev": {"instances": 1, "memoryMiB": 2048, "cpuCores": None},
    }  # fmt: skip
    table = run("customer", "show", "fresh")
    assert "0 of 7" in table
    assert "0 of 2048" in table


def test_suspends_and_activates(database: Database) -> None:
    run("customer", "suspend", CUSTOMER)
    assert accounts.billing_state(database, CUSTOMER) == "suspended"
    run("customer", "activate", CUSTOMER)
    assert shown(CUSTOMER)["billingState"] == "active"


def test_lists_customers(database: Database) -> None:
    run("customer", "set", "zebra", "--billing", "past_due")
    listed = json.loads(run("customer", "list", "--json"))
    assert [each["customerId"] for each in listed] == [CUSTOMER, "zebra"]
    table = run("customer", "list")
    assert "past_due" in table
    assert "0 of 20" in table


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["customer", "show", "nobody"], "there is no customer nobody"),
        (["customer", "suspend", "nobody"], "there is no customer nobody"),
        (["customer", "set", "Bad Id"], "cannot be a customer's id"),
        (["customer", "set", "fine", "--game", "1"], "--game wants"),
        (["customer", "set", "fine", "--dev", "1,x,2"], "--dev wants"),
        (["token", "create", "--name", "x"], "say whose token it is"),
    ],
)
def test_refuses_in_one_sentence(database: Database, arguments: list[str], reason: str) -> None:
    assert reason in refused(*arguments)
