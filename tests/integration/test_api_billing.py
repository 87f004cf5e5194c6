"""The billing webhook: signed, each event once, and never an older one over a newer."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from orchestrator.store import accounts
from tests.support.fix_api import Api, is_problem, together
from tests.support.fix_stack import GAME, Running
from tests.support.signing import sign

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def customer_id(stack: Running) -> str:
    customer_id = f"b-{uuid4().hex[:12]}"
    accounts.ensure_customer(stack.database, customer_id)
    return customer_id


def event(customer_id: str, state: str, occurred_at: datetime = NOON, event_id: str | None = None) -> dict[str, str]:
    return {
        "id": event_id or uuid4().hex,
        "customerId": customer_id,
        "billingState": state,
        "occurredAt": occurred_at.isoformat(),
    }


def send(stack: Running, body: Any, *, header: str | None = None, at: float | None = None) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if header is None:
        header = sign(stack.lab.secrets["billing_secret"], int(at or time.time()), content)
    return httpx.post(
        f"{stack.url}/internal/billing",
        content=content,
        headers={"X-Hostwright-Signature": header, "Content-Type": "application/json"},
        trust_env=False,
    )


def state_of(stack: Running, customer_id: str) -> str:
    return accounts.billing_state(stack.database, customer_id)


def revision_of(stack: Running, customer_id: str) -> int:
    with stack.database.connection() as connection:
        row = connection.execute("select revision from customer where id = %s", (customer_id,)).fetchone()
    assert row is not None
    return int(row[0])


def test_sets_the_state(stack: Running, customer_id: str) -> None:
    before = revision_of(stack, customer_id)
    assert send(stack, event(customer_id, "suspended")).status_code == 204
    assert state_of(stack, customer_id) == "suspended"
    assert revision_of(stack, customer_id) == before + 1, "an order decided on the old state gets through"


def test_takes_an_event_once(stack: Running, customer_id: str) -> None:
    first = event(customer_id, "suspended")
    assert {answer.status_code for answer in together(8, lambda _: send(stack, first))} == {204}
    accounts.update_customer(stack.database, customer_id, billing_state="active")
    revision = revision_of(stack, customer_id)
    later = first | {"occurredAt": datetime.now(UTC).isoformat()}
    for again in (first, later):
        assert send(stack, again).status_code == 204
    assert (state_of(stack, customer_id), revision_of(stack, customer_id)) == ("active", revision)


def test_ignores_what_is_older_than_the_last(stack: Running, customer_id: str) -> None:
    for state, hours, expected in (
        ("past_due", 1, "past_due"),
        ("suspended", 3, "suspended"),
        ("overdue_warning", 2, "suspended"),
        ("active", 3, "active"),
    ):
        assert send(stack, event(customer_id, state, NOON + timedelta(hours=hours))).status_code == 204
        assert state_of(stack, customer_id) == expected


def test_lets_an_operators_word_stand_against_older_events(stack: Running, customer_id: str) -> None:
    accounts.update_customer(stack.database, customer_id, billing_state="suspended")
    send(stack, event(customer_id, "active", datetime.now(UTC) - timedelta(minutes=1)))
    assert state_of(stack, customer_id) == "suspended"
    send(stack, event(customer_id, "active", datetime.now(UTC) + timedelta(seconds=1)))
    assert state_of(stack, customer_id) == "active"


def test_turns_away_what_is_not_signed(stack: Running, customer_id: str) -> None:
    body = json.dumps(event(customer_id, "suspended")).encode()
    secret, now = stack.lab.secrets["billing_secret"], int(time.time())
    good = sign(secret, now, body)
    for header in (
        "", "t=1", good.replace("v1=", "v2="), sign("wrong", now, body), sign(secret, now, body + b" "),
        sign(secret, now - 301, body), sign(secret, now + 310, body), good.replace(f"t={now}", f"t={now - 1}"),
        f"{good},x", good[:-1], "t=x,v1=0", secret,
    ):  # fmt: skip
        is_problem(send(stack, body, header=header), 401, "unauthenticated")
    assert state_of(stack, customer_id) == "active"
    assert send(stack, body, header=f"t={now},v1={'0' * 64},{good.partition(',')[2]}").status_code == 204


def test_answers_404_for_an_unknown_customer_and_takes_the_event_later(stack: Running) -> None:
    customer_id = f"late-{uuid4().hex[:8]}"
    said = event(customer_id, "past_due")
    is_problem(send(stack, said), 404, "not-found")
    accounts.ensure_customer(stack.database, customer_id)
    assert send(stack, said).status_code == 204
    assert state_of(stack, customer_id) == "past_due"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"billingState": "rich"}, "/billingState"),
        ({"occurredAt": "yesterday"}, "/occurredAt"),
        ({"occurredAt": "2026-01-01T12:00:00"}, "/occurredAt"),
        ({"occurredAt": 1}, "/occurredAt"),
        ({"occurredAt": "2999-01-01T12:00:00Z"}, "/occurredAt"),
        ({"id": ""}, "/id"),
        ({"id": "a\0b"}, "/id"),
        ({"customerId": "A"}, "/customerId"),
        ({"more": 1}, "/more"),
    ],
    ids=str,
)
def test_refuses_a_wrong_event(stack: Running, customer_id: str, change: dict[str, Any], pointer: str) -> None:
    problem = is_problem(send(stack, event(customer_id, "suspended") | change), 400, "invalid-request")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert state_of(stack, customer_id) == "active"


def test_says_that_it_is_not_set_up(api: Api) -> None:
    """This API's secrets file is not there."""
    is_problem(api.http.post("/internal/billing", json=event("x", "active")), 503, "unavailable")


def test_keeps_a_suspended_customer_from_ordering(stack: Running) -> None:
    client = stack.customer()
    with stack.database.connection() as connection:
        row = connection.execute(
            "select customer_id from token where hash = %s", (accounts.hash_token(client.token),)
        ).fetchone()
    assert row is not None
    send(stack, event(str(row[0]), "suspended"))
    is_problem(stack.post(client, GAME), 403, "customer-suspended")
