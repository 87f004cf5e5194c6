"""Access tokens: made, listed, used, revoked and expired."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError

from orchestrator.domain.accounts import TokenName
from orchestrator.store import accounts
from tests.support.fix_api import Api, Caller, is_problem, running_api
from tests.support.fix_stack import GAME

PROMPT_SECONDS = 2.0
"""Less than the 5 s for which a token is remembered."""


@pytest.fixture
def operator(api: Api) -> Caller:
    return api.caller(None)


def make(operator: Caller, body: Any) -> httpx.Response:
    content = json.dumps(body).encode()  # escaped, so that it may hold what is no Unicode
    return operator.request("POST", "/api/tokens", content=content, headers={"Content-Type": "application/json"})


def wait_until(condition: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_makes_a_token_and_shows_it_once(api: Api, operator: Caller) -> None:
    customer_id = str(api.customer().customer_id)
    made = make(operator, {"name": "portal", "customerId": customer_id, "expiresAt": "2099-01-01T00:00:00Z"})
    assert made.status_code == 201
    body = made.json()
    token = body.pop("token")
    assert body["expiresAt"] == "2099-01-01T00:00:00Z"
    assert api.stranger(token).get("/api/instances").status_code == 200
    listed = operator.get(f"/api/tokens?customerId={customer_id}").json()["tokens"]
    assert body in [each | {"lastUsedAt": None, "lastAddress": None} for each in listed]
    assert token not in operator.get("/api/tokens?limit=200").text
    digest = accounts.hash_token(token).hex()
    assert digest not in operator.get("/api/tokens?limit=200").text
    assert not api.query("select from token t where t::text like %s", f"%{token}%")


def test_makes_an_operators_token(api: Api, operator: Caller) -> None:
    token = make(operator, {"name": "second", "operator": True}).json()["token"]
    assert api.stranger(token).get("/api/customers").status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "x"}, "/customerId"),
        ({"name": "x", "customerId": "acme", "operator": True}, "/customerId"),
        ({"name": "x", "customerId": "nobody-at-all"}, "/customerId"),
        ({"name": "", "operator": True}, "/name"),
        ({"name": "a\nb", "operator": True}, "/name"),
        ({"name": "a\ud800", "operator": True}, "/name"),
        ({"name": "x", "operator": True, "expiresAt": "2001-01-01T00:00:00Z"}, "/expiresAt"),
        ({"name": "x", "operator": True, "expiresAt": "2099-01-01"}, "/expiresAt"),
        ({"name": "x", "operator": True, "scope": "all"}, "/scope"),
    ],
    ids=str,
)
def test_refuses_a_wrong_token(operator: Caller, body: Any, pointer: str) -> None:
    problem = is_problem(make(operator, body), 400, "invalid-request")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


HIDDEN = ("\u202e", "\u2066", "\u200f", "\u200b", "\u200d", "\ufeff", "\u00ad", "\u2028", "\x1b", "\x9b", "\U000e0041")


@pytest.mark.parametrize("hidden", HIDDEN, ids=ascii)
def test_case_c12_refuses_names_that_do_not_show_what_they_hold(api: Api, operator: Caller, hidden: str) -> None:
    name = f"por{hidden}tal"
    problem = is_problem(make(operator, {"name": name, "operator": True}), 400, "invalid-request")
    assert [error["pointer"] for error in problem["errors"]] == ["/name"]


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "por\u202etal"])
def test_case_c12_refuses_a_name_of_no_use_at_the_command_line(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(TokenName).validate_python(name)


@pytest.mark.parametrize("name", ["Kundenportal", "портал", "ポータル", "بوابة", "portal 🎮"])
def test_case_c12_takes_names_of_every_language(operator: Caller, name: str) -> None:
    assert make(operator, {"name": name, "operator": True}).json()["name"] == name


def test_ends_a_revoked_token_in_every_process_at_once(api: Api, operator: Caller) -> None:
    made = make(operator, {"name": "x", "customerId": str(api.customer().customer_id)}).json()
    caller = api.stranger(made["token"])
    with running_api(api.database.url) as other:
        there = other.stranger(made["token"])
        wait_until(lambda: _is_remembered(api, caller) and _is_remembered(other, there))
        assert operator.delete(f"/api/tokens/{made['tokenId']}").status_code == 204
        revoked = time.monotonic()
        for each in (caller, there):
            wait_until(lambda each=each: each.get("/api/instances").status_code == 401)
        assert time.monotonic() - revoked < PROMPT_SECONDS
    assert operator.delete(f"/api/tokens/{made['tokenId']}").status_code == 204
    found = [each for each in operator.get("/api/tokens?limit=200").json()["tokens"] if each["revokedAt"]]
    assert made["tokenId"] in {each["tokenId"] for each in found}


def _is_remembered(api: Api, caller: Caller) -> bool:
    return caller.get("/api/instances").status_code == 200


@pytest.mark.parametrize("where", ["a change", "a change since", "an order"])
def test_case_c8_ends_what_waits_with_a_revoked_token(api: Api, operator: Caller, where: str) -> None:
    customer_id = str(api.customer().customer_id)
    made = make(operator, {"name": "x", "customerId": customer_id}).json()
    caller, other = api.stranger(made["token"]), api.caller(customer_id)
    if where == "an order":
        ask = partial(caller.post, GAME, Prefer="wait=20")
        begun = partial(api.query, "select 1 from operation where customer_id = %s", customer_id)
    else:
        path = f"/api/instances/operations/{other.order(GAME)['operationId']}"
        known = {"If_None_Match": other.get(path).headers["etag"]} if where == "a change since" else {}
        wait_until(lambda: _stays_open(other, path))
        ask = partial(caller.get, path, Prefer="wait=20", **known)
        begun = partial(api.query, "select 1 from token where id = %s and last_used_at is not null", made["tokenId"])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask)
        wait_until(begun)
        assert operator.delete(f"/api/tokens/{made['tokenId']}").status_code == 204
        revoked = time.monotonic()
        is_problem(waiting.result(), 401, "unauthenticated")
        assert time.monotonic() - revoked < PROMPT_SECONDS


def _stays_open(caller: Caller, path: str) -> bool:
    """Whether the notifications of the order itself have come, so that a wait lasts."""
    began = time.monotonic()
    caller.get(path, Prefer="wait=1")
    return time.monotonic() - began > 0.9


def test_case_c8_ends_what_waits_with_a_token_that_expires(api: Api) -> None:
    customer_id = str(api.customer().customer_id)
    path = f"/api/instances/operations/{api.caller(customer_id).order(GAME)['operationId']}"
    expires_at = datetime.now(UTC) + timedelta(seconds=1.5)
    caller = api.caller(customer_id, expires_at)
    while caller.get(path, Prefer="wait=3").status_code == 200:
        assert datetime.now(UTC) < expires_at + timedelta(seconds=1), "answered although the token has expired"


def test_ends_an_expired_token_at_its_time(api: Api) -> None:
    expires_at = datetime.now(UTC) + timedelta(seconds=1.5)
    caller = api.caller(str(api.customer().customer_id), expires_at)
    while datetime.now(UTC) < expires_at - timedelta(seconds=0.3):
        assert caller.get("/api/instances").status_code == 200
        time.sleep(0.1)  # well below the rate limit
    wait_until(lambda: caller.get("/api/instances").status_code == 401)
    assert datetime.now(UTC) - expires_at < timedelta(seconds=PROMPT_SECONDS)


@pytest.mark.parametrize("name", ["00000000-0000-0000-0000-000000000000", "x", "hw_token"])
def test_revokes_no_unknown_token(operator: Caller, name: str) -> None:
    is_problem(operator.delete(f"/api/tokens/{name}"), 404, "not-found")


def test_keeps_the_last_use_and_writes_it_seldom(api: Api, operator: Caller) -> None:
    customer = api.customer()
    query = "select last_used_at, host(last_address), xmin::text from token where hash = %s"
    digest = accounts.hash_token(str(customer.token))
    assert api.query(query, digest)[0][:2] == (None, None)
    customer.get("/api/instances")
    wait_until(lambda: api.query(query, digest)[0][0] is not None)
    first = api.query(query, digest)[0]
    assert first[1] == "127.0.0.1"
    for _ in range(20):
        customer.get("/api/instances")
    assert api.query(query, digest)[0] == first
    accounts.note_token_uses(api.database, {_id(api, digest): "192.0.2.1"}, at_most_every=60)
    assert api.query(query, digest)[0] == first, "another process wrote it just now"
    api.query("update token set last_used_at = now() - interval '2 minutes' where hash = %s", digest)
    accounts.note_token_uses(api.database, {_id(api, digest): "192.0.2.1"}, at_most_every=60)
    assert api.query(query, digest)[0][1] == "192.0.2.1"


def _id(api: Api, digest: bytes) -> UUID:
    found: UUID = api.query("select id from token where hash = %s", digest)[0][0]
    return found


def test_lists_every_token_once_page_by_page(api: Api, operator: Caller) -> None:
    customer_id = str(api.customer().customer_id)
    for _ in range(4):
        api.caller(customer_id)
    seen: list[str] = []
    after = ""
    while True:
        page = operator.get(f"/api/tokens?customerId={customer_id}&limit=2{after}").json()
        seen += [each["tokenId"] for each in page["tokens"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert len(seen) == len(set(seen)) == 5


@pytest.mark.parametrize("expires_at", ["9999-12-31T23:59:59-12:00", "9000-01-01T00:00:00Z", "2001-01-01T00:00:00Z"])
def test_refuses_an_end_that_is_no_future_it_can_keep(operator: Caller, expires_at: str) -> None:
    is_problem(make(operator, {"name": "x", "operator": True, "expiresAt": expires_at}), 400, "invalid-request")


def test_knows_a_token_by_one_spelling_of_its_id_only(operator: Caller) -> None:
    made = operator.request("POST", "/api/tokens", json={"name": "x", "operator": True}).json()
    for spelled in (made["tokenId"].replace("-", ""), f"{{{made['tokenId']}}}", f"urn:uuid:{made['tokenId']}"):
        is_problem(operator.delete(f"/api/tokens/{spelled}"), 404, "not-found")
    assert operator.delete(f"/api/tokens/{made['tokenId'].upper()}").status_code == 204
