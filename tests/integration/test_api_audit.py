"""The audit log: a line for every request to change something, and never a secret in it."""

from typing import Any
from uuid import uuid4

import pytest

from orchestrator.domain.errors import ConfigurationError
from orchestrator.store import accounts, audit, callbacks
from orchestrator.store.connection import Database
from tests.support.fix_api import Api, Caller, is_problem, lease_of, running_api
from tests.support.fix_stack import DEV, GAME


@pytest.fixture
def customer(api: Api) -> Caller:
    return api.customer()


def lines(api: Api, customer: Caller) -> list[dict[str, Any]]:
    """A customer's lines, oldest first, as an operator reads them."""
    answer = api.caller(None).get(f"/api/audit?customerId={customer.customer_id}&limit=500")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"][::-1]
    return found


def brief(line: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(line[name] for name in ("method", "route", "target", "status", "code", "operationId"))


def test_has_a_line_for_every_order_and_deletion(api: Api, customer: Caller) -> None:
    first = customer.order(GAME, Idempotency_Key="k")
    customer.order(GAME, Idempotency_Key="k")
    busy = customer.delete(f"/api/instances/{first['serverId']}")
    vmid = api.complete(first)
    deleted = customer.delete(f"/api/servers/{vmid}").json()
    customer.post({"ctype": "vm"})
    customer.delete(f"/api/instances/{uuid4()}")
    customer.request("POST", "/api/instances", content=b"x")
    customer.post(GAME | {"customerId": "x"})
    customer.get("/api/instances")
    assert busy.status_code == 409
    server, operation = first["serverId"], first["operationId"]
    orders, one = "/api/instances", "/api/instances/{server_id}"
    found = lines(api, customer)
    unknown = found[5]["target"]
    assert [brief(line) for line in found] == [
        ("POST", orders, server, 202, None, operation),
        ("POST", orders, "-", 202, None, operation),
        ("DELETE", one, server, 409, "instance-busy", None),
        ("DELETE", "/api/servers/{server_id}", str(vmid), 202, None, deleted["operationId"]),
        ("POST", orders, "-", 400, "invalid-request", None),
        ("DELETE", one, unknown, 404, "not-found", None),
        ("POST", orders, "-", 415, "unsupported-media-type", None),
        ("POST", orders, "-", 403, "forbidden", None),
    ]
    token_id = str(api.query("select id from token where customer_id = %s", customer.customer_id)[0][0])
    assert {(line["principal"], line["tokenId"], line["customerId"], line["address"]) for line in found} == {
        ("test", token_id, customer.customer_id, "127.0.0.1")
    }


def test_has_a_line_for_what_operators_do_and_try(api: Api, customer: Caller) -> None:
    operator = api.caller(None)
    name = str(customer.customer_id)
    operator.request("PUT", f"/api/customers/{name}", json={})
    operator.post(GAME | {"customerId": name})
    made = operator.request("POST", "/api/tokens", json={"name": "x", "customerId": name}).json()
    operator.delete(f"/api/tokens/{made['tokenId']}")
    customer.request("PUT", f"/api/customers/{name}", json={})
    found = api.query(
        "select method, route, target, status from audit where target in (%s, %s) order by seq", name, made["tokenId"]
    )
    one = "/api/customers/{customer_id}"
    assert found == [
        ("PUT", one, name, 200),
        ("POST", "/api/tokens", made["tokenId"], 201),
        ("DELETE", "/api/tokens/{token_id}", made["tokenId"], 204),
        ("PUT", one, name, 403),
    ]


def test_has_a_line_for_strangers(api: Api) -> None:
    target = str(uuid4())
    is_problem(api.stranger("hw_unknown").delete(f"/api/instances/{target}"), 401, "unauthenticated")
    found = api.query("select principal, token_id, customer_id, status, code from audit where target = %s", target)
    assert found == [("-", None, None, 401, "unauthenticated")]


def test_holds_no_secret(api: Api, customer: Caller) -> None:
    secret = f"planted{uuid4().hex}"
    lease = lease_of(api.claim(customer.order(GAME)["operationId"]))
    token = callbacks.create_callback(api.database, lease)
    customer.post(DEV | {"bogus": secret})
    customer.post(GAME | {"env": {"PASSWORD": secret}}, Idempotency_Key=secret)
    customer.request("POST", f"/api/instances?token={secret}", json=GAME)
    api.stranger(f"hw_{secret}").delete("/api/instances/5000")
    operator = api.caller(None)
    operator.delete(f"/api/tokens/{operator.token}")
    operator.delete(f"/api/tokens/{secret}")
    api.http.post(f"/api/callbacks/{secret}", json={"status": "failed", "message": secret})
    api.http.post(f"/api/callbacks/{token}", json={"status": "failed", "message": secret})
    whole = "\n".join(text for (text,) in api.query("select a::text from audit a"))
    for planted in (secret, token, str(customer.token), str(operator.token), "hw_"):
        assert planted not in whole
    assert ("instance", 204) in api.query("select principal, status from audit where route like '/api/callbacks%%'")


def test_writes_the_line_with_the_order_or_neither(api: Api, customer: Caller) -> None:
    refused = f"check (customer_id <> '{customer.customer_id}') not valid"
    api.query(f"alter table audit add constraint full_up {refused}")
    answer = customer.post(GAME)
    assert (answer.status_code, answer.headers["connection"]) == (500, "close")
    assert api.query("select count(*) from operation where customer_id = %s", customer.customer_id) == [(0,)]
    api.query("alter table audit drop constraint full_up")
    assert customer.post(GAME).status_code == 202


def test_names_the_client_behind_a_trusted_proxy(database_url: str, database: Database) -> None:
    target = str(uuid4())
    with running_api(database_url, trusted_proxies="127.0.0.1") as running:
        running.http.delete(f"/api/instances/{target}", headers={"X-Forwarded-For": "198.51.100.7"})
        assert running.query("select host(address) from audit where target = %s", target) == [("198.51.100.7",)]


def test_believes_nobody_by_default(api: Api) -> None:
    target = str(uuid4())
    api.http.delete(f"/api/instances/{target}", headers={"X-Forwarded-For": "198.51.100.7"})
    assert api.query("select host(address) from audit where target = %s", target) == [("127.0.0.1",)]


def test_tells_a_customer_from_a_server_of_the_same_number(api: Api, customer: Caller) -> None:
    accounts.ensure_customer(api.database, "5999")
    customer.delete("/api/instances/5999")
    api.caller(None).request("PUT", "/api/customers/5999", json={})
    assert [(line["method"], line["route"]) for line in lines(api, api.caller("5999"))] == [
        ("PUT", "/api/customers/{customer_id}")
    ]


def test_lists_every_line_once_page_by_page(api: Api, customer: Caller) -> None:
    operator = api.caller(None)
    for _ in range(5):
        customer.post({})
    seen: list[int] = []
    after = ""
    while True:
        page = operator.get(f"/api/audit?customerId={customer.customer_id}&limit=2{after}").json()
        seen += [line["seq"] for line in page["entries"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == 5


@pytest.mark.parametrize("change", ["update audit set status = 1", "delete from audit", "truncate audit"])
def test_is_only_appended_to(api: Api, customer: Caller, change: str) -> None:
    customer.post({})
    with pytest.raises(ConfigurationError, match="only appended to"):
        api.query(change)


def test_forgets_old_lines_when_told_to(database: Database, database_url: str) -> None:
    with running_api(database_url) as running:
        customer = running.customer()
        for _ in range(3):
            customer.post({})
        moment = running.query("select at from audit order by seq offset 1 limit 1")[0][0]
        assert audit.prune(database, moment) == 1
        assert len(audit.list_entries(database)) == 2


def test_shows_customers_nothing(customer: Caller) -> None:
    for path in ("/api/audit", "/api/audit?limit=nonsense"):
        is_problem(customer.get(path), 403, "forbidden")
