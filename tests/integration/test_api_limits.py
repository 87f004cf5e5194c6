"""Rate limits, on API processes with narrow ones."""

import time
from collections.abc import Iterator

import pytest

from orchestrator.api.http.auth import REMEMBER_SECONDS
from orchestrator.store.connection import Database
from tests.support.fix_api import Api, is_problem, running_api
from tests.support.fix_stack import GAME

NARROW = {"rate_per_second": "0.01", "rate_burst": "6", "change_rate_per_second": "0.01", "change_rate_burst": "2",
          "failed_auth_per_second": "0.01", "failed_auth_burst": "3"}  # fmt: skip


@pytest.fixture
def narrow(database_url: str, database: Database) -> Iterator[Api]:
    with running_api(database_url, **NARROW) as running:
        yield running


def test_limits_each_token_and_changes_more_strictly(narrow: Api) -> None:
    customer = narrow.customer()
    assert [customer.post(GAME).status_code for _ in range(2)] == [202, 202]
    answer = customer.post(GAME)
    is_problem(answer, 429, "rate-limited")
    assert int(answer.headers["retry-after"]) == 100
    assert [customer.get("/api/instances").status_code for _ in range(5)] == [200] * 4 + [429]
    assert int(customer.get("/api/instances").headers["retry-after"]) >= 1
    again = narrow.caller(str(customer.customer_id))
    assert again.get("/api/instances").status_code == 200, "another token has a bucket of its own"


def test_lets_operators_ask_ten_times_as_often(narrow: Api) -> None:
    operator = narrow.caller(None)
    statuses = [operator.get("/api/instances").status_code for _ in range(61)]
    assert statuses == [200] * 60 + [429]


def test_limits_bad_tokens_of_an_address(narrow: Api) -> None:
    known = narrow.customer()
    assert known.get("/api/instances").status_code == 200
    stranger = narrow.stranger("hw_guess")
    assert [stranger.get("/api/instances").status_code for _ in range(5)] == [401] * 3 + [429] * 2
    time.sleep(REMEMBER_SECONDS)  # from here on the token has to be looked up again
    assert known.get("/api/instances").status_code == 200, "who was good lately is not kept out"
    assert narrow.caller(known.customer_id).get("/api/instances").status_code == 429
    is_problem(narrow.http.post("/api/callbacks/guess", json={"status": "failed"}), 429, "rate-limited")
    assert narrow.http.get("/healthz").status_code == 200


def test_writes_one_audit_line_for_a_row_of_refusals(narrow: Api) -> None:
    customer = narrow.customer()
    for _ in range(20):
        customer.post(GAME)
    rows = narrow.query("select status from audit where customer_id = %s order by seq", customer.customer_id)
    assert rows == [(202,), (202,), (429,)]


def test_has_no_limit_at_zero(database_url: str, database: Database) -> None:
    off = {name: "0" for name in NARROW if name.endswith("_per_second")}
    bursts = {name: "1" for name in NARROW if name.endswith("_burst")}
    with running_api(database_url, **off, **bursts) as running:
        customer = running.customer()
        assert {customer.post(GAME).status_code for _ in range(10)} == {202}
        assert {running.stranger("hw_guess").get("/api/instances").status_code for _ in range(10)} == {401}
