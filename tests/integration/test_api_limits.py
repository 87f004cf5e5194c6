"""Rate limits, on API processes with narrow ones."""

import hashlib
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from orchestrator.store import callbacks
from orchestrator.store.connection import Database
from tests.support.fix_api import Api, is_problem, lease_of, running_api, together
from tests.support.fix_database import CUSTOMER
from tests.support.fix_stack import GAME
from tests.support.signing import sign

NARROW = {"rate_per_second": "0.01", "rate_burst": "6", "change_rate_per_second": "0.01", "change_rate_burst": "2",
          "failed_auth_per_second": "0.01", "failed_auth_burst": "3"}  # fmt: skip
SECRETS = {"billing_secret": "billing-planted", "velocity_secret": "velocity-planted"}
BRIDGE, BILLING = "/internal/velocity/proxy-status", "/internal/billing"


@pytest.fixture
def narrow(database_url: str, database: Database, tmp_path: Path) -> Iterator[Api]:
    secrets = tmp_path / "secrets.json"
    secrets.touch(0o600)
    secrets.write_text(json.dumps(SECRETS))
    with running_api(database_url, **NARROW, secrets_file=str(secrets)) as running:
        yield running


def report(api: Api, secret: str) -> httpx.Response:
    """What the proxy's bridge says of a server."""
    headers = {"X-Zpack-Secret": hashlib.sha256(secret.encode()).hexdigest()}
    return api.http.post(BRIDGE, json={"server_name": "mc", "event": "proxy_ping_ok"}, headers=headers)


def bill(api: Api, secret: str, state: str = "active") -> httpx.Response:
    """What the billing system says of a customer."""
    now = datetime.now(UTC).isoformat()
    body = json.dumps({"id": now, "customerId": CUSTOMER, "billingState": state, "occurredAt": now}).encode()
    headers = {"X-Hostwright-Signature": sign(secret, int(time.time()), body), "Content-Type": "application/json"}
    return api.http.post(BILLING, content=body, headers=headers)


def call_back(api: Api, token: str) -> httpx.Response:
    return api.http.post(f"/api/callbacks/{token}", json={"status": "provisioned"})


def exhaust(api: Api) -> None:
    """Use bad tokens until no more of them are taken from our address."""
    stranger = api.stranger("hw_guess")
    assert [stranger.get("/api/instances").status_code for _ in range(5)] == [401] * 3 + [429] * 2


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


def test_limits_bad_tokens_signatures_and_callbacks_of_an_address(narrow: Api) -> None:
    exhaust(narrow)
    for refused in (
        narrow.http.get("/api/instances"),
        call_back(narrow, "guess"),
        report(narrow, "x"),
        bill(narrow, "x"),
    ):
        is_problem(refused, 429, "rate-limited")
        assert int(refused.headers["retry-after"]) == 100
    assert narrow.http.get("/healthz").status_code == 200


def test_case_c4_lets_a_good_token_in_whatever_came_from_its_address(narrow: Api) -> None:
    customer = narrow.customer()
    exhaust(narrow)
    assert customer.get("/api/instances").status_code == 200
    assert customer.post(GAME).status_code == 202
    assert narrow.caller(None).get("/api/customers").status_code == 200
    is_problem(narrow.stranger("hw_guess").get("/api/instances"), 429, "rate-limited")


def test_case_c4_lets_other_systems_in_whatever_came_from_their_address(narrow: Api) -> None:
    operation = narrow.claim(narrow.customer().order(GAME)["operationId"])
    token = callbacks.create_callback(narrow.database, lease_of(operation))
    exhaust(narrow)
    for _ in range(5):
        assert report(narrow, SECRETS["velocity_secret"]).status_code == 204
        assert bill(narrow, SECRETS["billing_secret"]).status_code == 204
        is_problem(report(narrow, "x"), 429, "rate-limited")
        is_problem(bill(narrow, "x"), 429, "rate-limited")
    assert call_back(narrow, token).status_code == 204
    is_problem(call_back(narrow, token), 429, "rate-limited")


def test_case_c4_good_requests_use_nothing_up(narrow: Api) -> None:
    callers = [narrow.caller(narrow.customer().customer_id) for _ in range(10)]
    assert {answer.status_code for answer in together(10, lambda n: callers[n].get("/api/instances"))} == {200}
    assert {report(narrow, SECRETS["velocity_secret"]).status_code for _ in range(10)} == {204}
    assert {bill(narrow, SECRETS["billing_secret"]).status_code for _ in range(10)} == {204}
    exhaust(narrow)


def hold_back(api: Api, stack: ExitStack, path: str, headers: str) -> socket.socket:
    """A connection that has sent all of a request but the last byte."""
    address = (api.http.base_url.host, api.http.base_url.port)
    connection = stack.enter_context(socket.create_connection(address, timeout=20))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n{headers}\r\n{{"
    connection.sendall(head.encode())
    return connection


def status_of(connection: socket.socket) -> int:
    return int(connection.recv(65536).split()[1])


@pytest.mark.parametrize("path", [BILLING, "/api/callbacks/guess"])
def test_case_c3_counts_a_request_before_its_body_is_read(narrow: Api, path: str) -> None:
    headers = f"X-Hostwright-Signature: {sign('x', int(time.time()), b'{}')}\r\n"
    with ExitStack() as stack:
        held = [hold_back(narrow, stack, path, headers) for _ in range(12)]
        is_problem(_when_counted(narrow), 429, "rate-limited")
        for connection in held:
            connection.sendall(b"}")
        statuses = sorted(status_of(connection) for connection in held)
    assert statuses.count(429) >= 9, "no more than the limit was looked at"
    assert set(statuses) <= {400, 401, 404, 429}
    audited = narrow.query("select status from audit where method = 'POST' and route like %s", f"{path[:10]}%")
    assert len(audited) <= 4


def _when_counted(api: Api) -> httpx.Response:
    """The answer to a bad token, once the held requests have used up what their address may try."""
    deadline = time.monotonic() + 20
    while (answer := api.stranger("hw_guess").get("/api/instances")).status_code == 401:
        assert time.monotonic() < deadline
    return answer


def test_case_c3_refuses_a_wrong_head_without_its_body(narrow: Api) -> None:
    old = f"X-Hostwright-Signature: {sign(SECRETS['billing_secret'], 1, b'{}')}\r\n"
    wrong = [(BILLING, ""), (BILLING, old), (BRIDGE, ""), (BRIDGE, "X-Zpack-Secret: x\r\n")]
    with ExitStack() as stack:
        statuses = [status_of(hold_back(narrow, stack, path, headers)) for path, headers in wrong]
    assert statuses == [401] * 3 + [429]


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
