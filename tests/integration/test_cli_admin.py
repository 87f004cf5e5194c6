"""The administrative commands, on a real database."""

import json
import os
import pwd
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.domain.accounts import MAX_LIMIT
from orchestrator.domain.errors import HostwrightError
from orchestrator.store import accounts
from orchestrator.store.connection import Database
from tests.support.fix_database import CUSTOMER


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


def test_lists_more_than_the_store_gives_at_once(database: Database) -> None:
    with database.connection() as connection:
        connection.execute("insert into customer (id) select 'many-' || n from generate_series(1, 450) n")
    listed = [each["customerId"] for each in json.loads(run("customer", "list", "--json"))]
    assert listed == sorted(listed)
    assert len(set(listed)) == len(listed) == 451


def test_makes_lists_and_revokes_tokens(database: Database) -> None:
    token = run("token", "create", "--name", "portal", "--customer", CUSTOMER, "--expires", "90d").strip()
    operators = run("token", "create", "--name", "ops", "--operator").strip()
    listed = json.loads(run("token", "list", "--json"))
    assert [(each["name"], each["customerId"]) for each in listed] == [("ops", None), ("portal", CUSTOMER)]
    left = datetime.fromisoformat(listed[1]["expiresAt"]) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < left <= timedelta(days=90)
    assert len(json.loads(run("token", "list", "--customer", CUSTOMER, "--json"))) == 1
    run("token", "revoke", listed[1]["tokenId"])
    assert accounts.find_principal(database, token) is None
    assert accounts.find_principal(database, operators) is not None
    table = run("token", "list")
    assert "revoked" in table
    assert token not in table


def test_writes_what_it_changes_into_the_audit_log(database: Database) -> None:
    run("customer", "set", "fresh")
    run("customer", "suspend", "fresh")
    run("customer", "activate", "fresh")
    run("token", "create", "--name", "x", "--customer", "fresh")
    token_id = json.loads(run("token", "list", "--json"))[0]["tokenId"]
    run("token", "revoke", token_id)
    run("customer", "list")
    who = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    found = json.loads(run("audit", "list", "--json"))[::-1]
    assert [(line["principal"], line["route"], line["target"]) for line in found] == [
        (who, "hostwright customer set", "fresh"),
        (who, "hostwright customer suspend", "fresh"),
        (who, "hostwright customer activate", "fresh"),
        (who, "hostwright token create", token_id),
        (who, "hostwright token revoke", token_id),
    ]
    assert "hostwright token revoke" in " ".join(run("audit", "list").split())
    assert "0 lines" in run("audit", "prune", "--before", "2001-01-01")
    assert "6 lines" in run("audit", "prune", "--before", "2999-01-01")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["customer", "show", "nobody"], "there is no customer nobody"),
        (["customer", "suspend", "nobody"], "there is no customer nobody"),
        (["customer", "set", "Bad Id"], "cannot be a customer's id"),
        (["customer", "set", "fine", "--game", "1"], "--game wants"),
        (["customer", "set", "fine", "--dev", "1,x,2"], "--dev wants"),
        (["customer", "set", "fine", "--dev", "1,3000000000,2"], "--dev wants"),
        (["customer", "set", "fine", "--dev", f"1,{'9' * 5000},2"], "--dev wants"),
        (["token", "create", "--operator", "--name", "a\nb"], "--name: must be visible"),
        (["token", "create", "--operator", "--name", "a\u202eb"], "--name: must be visible"),
        (["token", "create", "--operator", "--name", ""], "--name: String should have at least 1 character"),
        (["token", "create", "--operator", "--name", "x" * 101], "--name: String should have at most 100 characters"),
        (["token", "create", "--name", "x"], "say whose token it is"),
        (["token", "create", "--name", "x", "--operator", "--expires", "soon"], "--expires wants"),
        (["token", "create", "--name", "x", "--customer", "nobody"], "there is no customer nobody"),
        (["token", "revoke", "x"], "not a token's id"),
        (["token", "revoke", "00000000-0000-0000-0000-000000000000"], "there is no token"),
    ],
)
def test_refuses_in_one_sentence(database: Database, arguments: list[str], reason: str) -> None:
    assert reason in refused(*arguments)


@pytest.mark.parametrize("option", ["--instances", "--memory", "--cores"])
def test_refuses_a_limit_that_the_database_cannot_hold(database: Database, option: str) -> None:
    result = CliRunner().invoke(app, ["customer", "set", CUSTOMER, option, "3000000000"])
    assert result.exit_code == 2
    assert str(MAX_LIMIT) in result.output
    run("customer", "set", CUSTOMER, option, str(MAX_LIMIT))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "HOSTWRIGHT_DATABASE_URL is not an address of a database"),
        ("postgresql://u:a-password@127.0.0.1:1/x", "Connection refused"),
    ],
)
def test_says_in_a_sentence_why_there_is_no_database(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str, words: str
) -> None:
    monkeypatch.setenv("HOSTWRIGHT_DATABASE_URL", url)
    said = refused("customer", "list")
    assert words in said
    assert "a-password" not in said
    assert caplog.text == ""


def test_names_a_user_by_its_number_when_it_has_no_name(monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    run("customer", "suspend", CUSTOMER)
    assert "by cli:4000000 from -" in run("audit", "list")
