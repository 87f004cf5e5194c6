"""Customers over HTTP, as operators see and set them."""

import json
from typing import Any
from uuid import uuid4

import pytest

from orchestrator.store import accounts
from tests.support.fix_api import Api, Caller, is_problem
from tests.support.fix_stack import DEV, GAME

NO_LIMIT = {"instances": None, "memoryMiB": None, "cpuCores": None}
NOTHING = {"instances": 0, "memoryMiB": 0, "cpuCores": 0}
NAMES = ["nobody", "Bad_Id", "-", "x" * 64, "a b", "é"]


@pytest.fixture
def operator(api: Api) -> Caller:
    return api.caller(None)


def put(caller: Caller, customer_id: str, body: Any) -> Any:
    return caller.request("PUT", f"/api/customers/{customer_id}", json=body)


def test_makes_a_customer_and_shows_it(operator: Caller) -> None:
    customer_id = f"new-{uuid4().hex[:8]}"
    is_problem(operator.get(f"/api/customers/{customer_id}"), 404, "not-found")
    made = put(operator, customer_id, {})
    assert made.status_code == 200
    body = made.json()
    assert body.pop("createdAt").endswith("Z")
    assert body == {
        "customerId": customer_id,
        "billingState": "active",
        "limits": {"instances": 20, "memoryMiB": 131072, "cpuCores": 64, "game": NO_LIMIT, "dev": NO_LIMIT},
        "usage": NOTHING | {"game": NOTHING, "dev": NOTHING},
    }
    assert operator.get(f"/api/customers/{customer_id}").content == made.content


def test_sets_what_is_given_and_leaves_the_rest(api: Api, operator: Caller) -> None:
    customer_id = str(api.customer().customer_id)
    put(operator, customer_id, {"billingState": "past_due", "limits": {"memoryMiB": 4096, "game": {"instances": 2}}})
    put(operator, customer_id, {"limits": {"instances": 3, "dev": {"cpuCores": 4, "memoryMiB": 1024}}})
    found = put(operator, customer_id, {"limits": {"dev": {"instances": 0, "memoryMiB": None}}}).json()
    assert found["billingState"] == "past_due"
    assert found["limits"] == {
        "instances": 3, "memoryMiB": 4096, "cpuCores": 64,
        "game": NO_LIMIT | {"instances": 2}, "dev": NO_LIMIT | {"instances": 0},
    }  # fmt: skip


def test_shows_what_counts_in_total_and_for_each_type(api: Api, operator: Caller) -> None:
    customer = api.customer()
    customer.order(GAME, Idempotency_Key="one")
    failed = customer.order(GAME | {"memoryMiB": 4096}, Idempotency_Key="two")
    customer.order(DEV)
    api.query("update instance set status = 'failed' where id = %s", failed["serverId"])
    one = {"instances": 1, "memoryMiB": 2048, "cpuCores": 2}
    assert operator.get(f"/api/customers/{customer.customer_id}").json()["usage"] == {
        "instances": 2, "memoryMiB": 4096, "cpuCores": 4, "game": one, "dev": one,
    }  # fmt: skip


def test_lists_every_customer_once_page_by_page(api: Api, operator: Caller) -> None:
    made = {str(api.customer().customer_id) for _ in range(5)}
    seen: list[str] = []
    after = ""
    while True:
        page = operator.get(f"/api/customers?limit=2{after}").json()
        seen += [each["customerId"] for each in page["customers"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert made <= set(seen)
    assert len(seen) == len(set(seen))


def test_raises_the_revision_with_every_change(api: Api, operator: Caller) -> None:
    """An order that was decided on the old limits must not get through."""
    customer_id = str(api.customer().customer_id)
    query = "select revision from customer where id = %s"
    before = api.query(query, customer_id)[0][0]
    for number, body in enumerate(({"billingState": "suspended"}, {"limits": {"game": {"instances": 1}}}), 1):
        put(operator, customer_id, body)
        assert api.query(query, customer_id)[0][0] == before + number


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"billingState": "rich"}, ["/billingState"]),
        ({"billingState": 1, "limits": {"instances": -1, "game": {"memoryMiB": "1"}}},
         ["/billingState", "/limits/instances", "/limits/game/memoryMiB"]),
        ({"limits": {"instances": 2**31, "bogus": 1}, "name": "x"}, ["/limits/instances", "/limits/bogus", "/name"]),
        ({"limits": {"vm": {}}}, ["/limits/vm"]),
        ([], [""]),
    ],
)  # fmt: skip
def test_refuses_a_wrong_change_naming_every_field(api: Api, operator: Caller, body: Any, pointers: list[str]) -> None:
    customer_id = f"never-{uuid4().hex[:8]}"
    problem = is_problem(put(operator, customer_id, body), 400, "invalid-request")
    assert [error["pointer"] for error in problem["errors"]] == pointers
    assert accounts.get_customer(api.database, customer_id) is None


@pytest.mark.parametrize("name", NAMES[1:])
def test_refuses_an_id_that_cannot_be_one(operator: Caller, name: str) -> None:
    is_problem(operator.get(f"/api/customers/{name}"), 404, "not-found")
    problem = is_problem(put(operator, name, {}), 400, "invalid-request")
    assert problem["errors"][0]["parameter"] == "customerId"


def test_tells_a_customer_nothing(api: Api) -> None:
    customer = api.customer()
    for name in [str(customer.customer_id), str(api.customer().customer_id), *NAMES]:
        answers = {customer.get(f"/api/customers/{name}").content}
        for content in (b"{}", b"nonsense", b" " * 70_000):
            answers.add(customer.request("PUT", f"/api/customers/{name}", content=content).content)
        answers.add(customer.get("/api/customers?limit=nonsense").content)
        (answer,) = answers
        assert json.loads(answer)["code"] == "forbidden"
        assert name not in answer.decode()


def test_stops_nothing_of_an_operator(api: Api, operator: Caller) -> None:
    customer = api.customer(billing_state="pending_deletion")
    assert operator.get("/api/instances").status_code == 200
    is_problem(operator.post(GAME | {"customerId": customer.customer_id}), 403, "customer-suspended")
