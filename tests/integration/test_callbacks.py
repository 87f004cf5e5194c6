"""One-time callbacks of instances: good once, while the order runs, and no more than a line in its log."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from orchestrator.domain import updates
from orchestrator.domain.errors import LostLease
from orchestrator.domain.models import Lease
from orchestrator.domain.operations import PROVISION
from orchestrator.store import callbacks, endings, leases
from tests.support.fix_api import Api, Caller, is_problem, lease_of, together
from tests.support.fix_stack import GAME


@pytest.fixture
def customer(api: Api) -> Caller:
    return api.customer()


def running(api: Api, customer: Caller) -> tuple[dict[str, Any], Lease]:
    accepted = customer.order(GAME)
    return accepted, lease_of(api.claim(accepted["operationId"]))


def call_back(api: Api, token: str, body: Any = None) -> httpx.Response:
    return api.http.post(f"/api/callbacks/{token}", json=body or {"status": "provisioned"})


def log(customer: Caller, accepted: dict[str, Any]) -> list[tuple[int, str, str]]:
    events = customer.get(f"/api/instances/operations/{accepted['operationId']}/events").json()["events"]
    return [(line["seq"], line["level"], line["message"]) for line in events]


@pytest.mark.parametrize(
    ("body", "level", "message"),
    [
        ({"status": "provisioned"}, "info", "the instance says that it is provisioned"),
        ({"status": "failed", "message": "no\nroom\0"}, "warning", "the instance says that it failed: no room"),
        ({"status": "failed", "message": "a\u202eb"}, "warning", "the instance says that it failed: a b"),
        ({"status": "failed", "message": "x" * 1000}, "warning", f"the instance says that it failed: {'x' * 500}"),
    ],
)
def test_writes_a_line_and_decides_nothing(
    api: Api, customer: Caller, body: dict[str, str], level: str, message: str
) -> None:
    accepted, lease = running(api, customer)
    before = log(customer, accepted)
    answer = call_back(api, callbacks.create_callback(api.database, lease), body)
    assert (answer.status_code, answer.content) == (204, b"")
    assert log(customer, accepted) == [*before, (len(before) + 1, level, message)]
    assert customer.operation(accepted["operationId"])["status"] == "running"
    leases.record(api.database, lease, [updates.Logged(None, "info", "the worker goes on")])
    assert log(customer, accepted)[-1][0] == len(before) + 2


def test_is_good_once_however_often_it_is_used_at_once(api: Api, customer: Caller) -> None:
    accepted, lease = running(api, customer)
    before = len(log(customer, accepted))
    token = callbacks.create_callback(api.database, lease)
    answers = together(10, lambda _: call_back(api, token))
    assert sorted(answer.status_code for answer in answers) == [204] + [404] * 9
    assert len(log(customer, accepted)) == before + 1


def test_answers_late_double_and_forged_calls_alike(api: Api, customer: Caller) -> None:
    accepted, lease = running(api, customer)
    used, late = (callbacks.create_callback(api.database, lease) for _ in range(2))
    call_back(api, used)
    endings.complete(api.database, PROVISION, UUID(accepted["serverId"]), lease, address=None)
    before = log(customer, accepted)
    answers = [call_back(api, token) for token in (used, late, "forged", "x" * 300, "%00", "é")]
    assert len({answer.content for answer in answers}) == 1
    is_problem(answers[0], 404, "not-found")
    assert log(customer, accepted) == before


def test_keeps_only_the_hash(api: Api, customer: Caller) -> None:
    _, lease = running(api, customer)
    token = callbacks.create_callback(api.database, lease)
    rows = api.query("select c::text from callback_token c where operation_id = %s", lease.operation_id)
    assert len(rows) == 1
    assert token not in rows[0][0]


def test_gives_none_to_a_worker_that_lost_its_lease(api: Api, customer: Caller) -> None:
    accepted, lease = running(api, customer)
    with pytest.raises(LostLease):
        callbacks.create_callback(api.database, lease.model_copy(update={"fencing_token": lease.fencing_token - 1}))
    endings.complete(api.database, PROVISION, UUID(accepted["serverId"]), lease, address=None)
    with pytest.raises(LostLease):
        callbacks.create_callback(api.database, lease)


@pytest.mark.parametrize(
    "body", [{}, {"status": "ready"}, {"status": "failed", "message": 1}, {"status": "failed", "more": 1}], ids=str
)
def test_refuses_a_wrong_report_and_leaves_the_token_good(api: Api, customer: Caller, body: Any) -> None:
    _, lease = running(api, customer)
    token = callbacks.create_callback(api.database, lease)
    is_problem(api.http.post(f"/api/callbacks/{token}", json=body), 400, "invalid-request")
    assert call_back(api, token).status_code == 204
