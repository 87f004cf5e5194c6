"""The order table of the HTTP contract, a test for every row, over real HTTP."""

import json
import re
import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import yaml

from orchestrator.domain.errors import Code
from orchestrator.domain.models import Failure, Limits
from orchestrator.settings import load_settings
from orchestrator.store import accounts, endings
from tests.support.fix_api import Api, Caller, is_problem, lease_of, running_api, together
from tests.support.fix_stack import DEV, GAME, Running

PAPER = GAME | {"variant": "paper"}
LIMIT = 64 * 1024
JSON = {"Content-Type": "application/json"}


def operations_of(api: Api, caller: Caller) -> int:
    return int(api.query("select count(*) from operation where customer_id = %s", caller.customer_id)[0][0])


def nothing_was_written(api: Api, caller: Caller) -> bool:
    tables = ("operation", "instance", "idempotency_key")
    return all(
        api.query(f"select count(*) from {table} where customer_id = %s", caller.customer_id) == [(0,)]  # noqa: S608
        for table in tables
    )


@pytest.fixture
def customer(api: Api) -> Caller:
    return api.customer()


@pytest.mark.parametrize("order", [GAME, DEV], ids=["game", "dev"])
def test_accepts_an_order(api: Api, customer: Caller, order: dict[str, Any]) -> None:
    answer = customer.post(order)
    body = answer.json()
    assert answer.status_code == 202
    assert list(body) == ["operationId", "requestId", "serverId", "status", "phase", "statusUrl"]
    assert (body["status"], body["phase"]) == ("queued", None)
    assert len({UUID(body["operationId"]), UUID(body["requestId"]), UUID(body["serverId"])}) == 3
    assert body["statusUrl"] == f"/api/instances/operations/{body['operationId']}"
    assert answer.headers["location"] == body["statusUrl"]
    assert answer.headers["retry-after"] == "1"
    assert "idempotency-replayed" not in answer.headers
    assert customer.get(answer.headers["location"]).json()["operationId"] == body["operationId"]
    message = api.query("select convert_from(data, 'UTF8') from huey_task order by id desc limit 1")[0][0]
    assert body["operationId"] in message


def test_replays_same_key_same_body(api: Api, customer: Caller) -> None:
    first = customer.post(GAME, Idempotency_Key="k")
    for again in (customer.post(GAME, Idempotency_Key="k"), customer.post(GAME, Idempotency_Key='"k"')):
        assert again.status_code == 202
        assert again.content == first.content
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers["location"] == first.headers["location"]
    respelled = {"version": "1.21.7", "variant": "vanilla", "container_type": "game", "memoryMiB": 2048}
    assert customer.post(respelled, Idempotency_Key="k").content == first.content
    assert operations_of(api, customer) == 1


@pytest.fixture
def later(api: Api, tmp_path: Path) -> Iterator[Api]:
    """The API after a change of its catalogue: another default, and a version that is no longer there."""
    inventory = shutil.copytree(load_settings().inventory, tmp_path / "inventory")
    catalogue = inventory / "group_vars" / "all" / "catalogue.yml"
    data = yaml.safe_load(catalogue.read_text())
    data["hostwright_catalogue"]["limits"]["game"]["memory_mib"]["default"] = 4096
    data["hostwright_catalogue"]["dev"]["runtimes"]["python"]["versions"].remove("3.12")
    catalogue.write_text(yaml.safe_dump(data))
    with running_api(api.database.url, inventory=str(inventory)) as running:
        yield running


@pytest.mark.parametrize("order", [GAME, DEV], ids=["changed default", "removed version"])
def test_replays_same_key_whatever_the_catalogue_holds_by_then(
    api: Api, later: Api, customer: Caller, order: dict[str, Any]
) -> None:
    operator = api.caller(None)
    for caller, body in ((customer, order), (operator, order | {"customerId": api.customer().customer_id})):
        first = caller.post(body, Idempotency_Key="k")
        again = replace(caller, http=later.http).post(dict(reversed(body.items())), Idempotency_Key="k")
        assert (again.status_code, again.content) == (202, first.content)
        assert again.headers["idempotency-replayed"] == "true"
    is_problem(replace(customer, http=later.http).post(order | {"variant": "none"}, Idempotency_Key="k"), 400,
               "invalid-request")  # fmt: skip
    assert operations_of(api, customer) == 1


def test_replays_a_key_of_the_release_before(api: Api, customer: Caller) -> None:
    first = customer.post(GAME, Idempotency_Key="k")
    api.query(
        "update idempotency_key k set request_hash = o.request_hash from operation o "
        "where o.id = k.operation_id and k.customer_id = %s",
        customer.customer_id,
    )
    again = customer.post(GAME, Idempotency_Key="k")
    assert (again.status_code, again.content) == (202, first.content)
    is_problem(customer.post(PAPER, Idempotency_Key="k"), 409, "idempotency-key-reused")


def test_replays_same_key_when_the_order_is_long_over(api: Api, customer: Caller) -> None:
    first = customer.post(GAME, Idempotency_Key="k")
    accepted = first.json()
    api.complete(accepted)
    assert customer.post(GAME, Idempotency_Key="k").content == first.content
    api.complete_teardown(customer.delete(f"/api/instances/{accepted['serverId']}").json())
    accounts.update_customer(api.database, str(customer.customer_id), billing_state="suspended", max_instances=0)
    again = customer.post(GAME, Idempotency_Key="k")
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"


def test_orders_anew_when_the_key_is_older_than_7_days(api: Api, customer: Caller) -> None:
    first = customer.order(GAME, Idempotency_Key="k")
    age = "update idempotency_key set created_at = now() - %s::interval where customer_id = %s"
    api.query(age, "6 days 23 hours", customer.customer_id)
    assert customer.order(GAME, Idempotency_Key="k") == first
    api.query(age, "7 days 1 second", customer.customer_id)
    second = customer.order(PAPER, Idempotency_Key="k")
    assert second["operationId"] != first["operationId"]
    assert customer.order(PAPER, Idempotency_Key="k") == second


def test_makes_one_operation_of_50_concurrent_posts_with_one_key(stack: Running) -> None:
    client = stack.customer()
    before = {container["vmid"] for container in stack.lab.inventory()["containers"]}
    answers = together(50, lambda _: stack.post(client, GAME, Idempotency_Key="fifty"))
    assert [answer.status_code for answer in answers] == [202] * 50
    assert len({answer.content for answer in answers}) == 1
    assert Counter(answer.headers.get("idempotency-replayed") for answer in answers) == {"true": 49, None: 1}
    operation = stack.finish(client, answers[0].json()["operationId"])
    assert operation["status"] == "succeeded", operation["error"]
    assert len(client.request("GET", "/api/instances/operations")["operations"]) == 1
    ours = [each for each in stack.lab.inventory()["containers"] if each["vmid"] not in before]
    mark = f"hw-{operation['serverId']}"
    assert [each["vmid"] for each in ours if mark in str(each["tags"])] == [operation["vmid"]]
    assert stack.tear_down(client, operation["serverId"])["status"] == "succeeded"


def test_makes_one_operation_of_concurrent_posts_without_a_key(api: Api, customer: Caller) -> None:
    answers = together(20, lambda _: customer.post(GAME))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert operations_of(api, customer) == 1


def test_refuses_same_key_other_body(api: Api, customer: Caller) -> None:
    first = customer.order(GAME, Idempotency_Key="k")
    for other in (PAPER, DEV, GAME | {"memoryMiB": 4096}, GAME | {"env": {"A": "1"}}):
        answer = customer.post(other, Idempotency_Key="k")
        is_problem(answer, 409, "idempotency-key-reused", operationId=first["operationId"])
    assert operations_of(api, customer) == 1


def test_keeps_keys_of_customers_apart(api: Api, customer: Caller) -> None:
    other = api.customer()
    assert (
        customer.order(GAME, Idempotency_Key="k")["operationId"]
        != other.order(PAPER, Idempotency_Key="k")["operationId"]
    )


def test_gives_the_active_operation_without_a_key_to_the_same_body(api: Api, customer: Caller) -> None:
    first = customer.post(GAME)
    again = customer.post(GAME)
    assert (again.status_code, again.content) == (202, first.content)
    assert "idempotency-replayed" not in again.headers
    api.claim(first.json()["operationId"])
    assert customer.post(GAME).content == first.content
    assert operations_of(api, customer) == 1


def test_orders_anew_without_a_key_when_none_is_active(api: Api, customer: Caller) -> None:
    first = customer.order(GAME)
    api.complete(first)
    assert customer.order(GAME)["operationId"] != first["operationId"]


def test_finds_the_same_body_among_several_active_ones(customer: Caller) -> None:
    customer.order(GAME, Idempotency_Key="one")
    paper = customer.order(PAPER, Idempotency_Key="two")
    assert customer.order(PAPER) == paper


def test_refuses_another_body_of_the_same_ctype_without_a_key_while_one_is_active(api: Api, customer: Caller) -> None:
    first = customer.order(GAME)
    is_problem(customer.post(PAPER), 409, "create-in-progress", operationId=first["operationId"])
    assert operations_of(api, customer) == 1
    assert customer.order(PAPER, Idempotency_Key="in-parallel")["operationId"] != first["operationId"]


def test_accepts_another_ctype_in_parallel(customer: Caller) -> None:
    assert customer.order(GAME)["operationId"] != customer.order(DEV)["operationId"]


def test_lets_customers_order_the_same_at_once(api: Api, customer: Caller) -> None:
    assert customer.order(GAME)["operationId"] != api.customer().order(GAME)["operationId"]


def test_refuses_an_invalid_body_naming_every_field(api: Api, customer: Caller) -> None:
    exploit = "{{ lookup('pipe','touch pwned') }}"
    body = {"ctype": "game", "variant": exploit, "world": "a\0b", "memoryMiB": "2", "env": {exploit: 1}, exploit: "x"}
    answer = customer.post(body, Idempotency_Key="k")
    named = {error["pointer"] for error in is_problem(answer, 400, "invalid-request")["errors"]}
    escaped = exploit.replace("/", "~1")
    assert named == {"/variant", "/version", "/world", "/memoryMiB", f"/env/{escaped}", f"/{escaped}"}
    assert nothing_was_written(api, customer)


@pytest.mark.parametrize("order", [GAME, {}], ids=["game", "of no type"])
def test_case_c2_names_the_first_20_wrong_fields_and_counts_the_others(
    api: Api, customer: Caller, order: dict[str, Any]
) -> None:
    strange = {f"{number:04}": 1 for number in range(5_000)}
    other = api.caller(None).request("PUT", f"/api/customers/{customer.customer_id}", json=strange)
    for answer in (customer.post(order | strange, Idempotency_Key="k"), other):
        problem = is_problem(answer, 400, "invalid-request")
        assert len(problem["errors"]) == 20
        assert re.search(r", and 49\d\d more$", problem["detail"])
        assert len(answer.content) < 4_096
    assert nothing_was_written(api, customer)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"ctype":NaN}', b"\xff", b"[" * 60_000, b'{"a":' * 10_000])
def test_refuses_a_body_that_is_no_json_object(api: Api, customer: Caller, body: bytes) -> None:
    answer = customer.request("POST", "/api/instances", content=body, headers=JSON)
    assert is_problem(answer, 400, "invalid-request")["errors"][0]["pointer"] == ""
    assert nothing_was_written(api, customer)


def test_refuses_a_deeply_nested_body(api: Api, customer: Caller) -> None:
    for depth in range(100, 1100, 100):
        content = b'{"a":' * depth + b"1" + b"}" * depth
        headers = JSON | {"Idempotency-Key": "k"}
        is_problem(customer.request("POST", "/api/instances", content=content, headers=headers), 400, "invalid-request")
    assert nothing_was_written(api, customer)


@pytest.mark.parametrize("key", ["", "a b", '"', "x" * 256])
def test_refuses_a_bad_key(api: Api, customer: Caller, key: str) -> None:
    problem = is_problem(customer.post(GAME, Idempotency_Key=key), 400, "invalid-request")
    assert problem["errors"][0]["parameter"] == "Idempotency-Key"
    assert nothing_was_written(api, customer)


def test_keeps_env_values_literal_and_secret(api: Api, customer: Caller) -> None:
    value = "{{ lookup('pipe','touch pwned') }}'\"$(id)世界"
    operation = customer.operation(customer.order(GAME | {"env": {"MOTD": value}})["operationId"])
    assert operation["request"]["env"] == {"MOTD": "***"}
    spec = api.query("select spec from operation where id = %s", operation["operationId"])[0][0]
    assert spec["env"] == {"MOTD": value}


def test_case_c5_env_values_go_with_the_server(api: Api, customer: Caller) -> None:
    value, kept = "planted-5b1f", "planted-elsewhere"
    accepted = customer.order(GAME | {"env": {"RCON_PASSWORD": value}})
    other = customer.order(GAME | {"env": {"TOKEN": kept}}, Idempotency_Key="other")
    api.complete(accepted)
    server = f"/api/instances/{accepted['serverId']}"
    failed = api.claim(customer.request("POST", f"{server}/stop").json()["operationId"])
    endings.fail(
        api.database, failed.instance_id, lease_of(failed), Failure(code=Code.INTERNAL, message="x"), attend_seconds=1
    )
    deletion = customer.delete(server).json()
    tables = ("operation", "instance", "archived_instance", "operation_event", "idempotency_key", "audit")
    query = " union all ".join(f"select t::text from {table} t" for table in tables)  # noqa: S608  # names from above
    assert sum(value in row for (row,) in api.query(query)) == 4
    api.complete_teardown(deletion)
    rows = [row for (row,) in api.query(query)]
    assert not any(value in row for row in rows)
    assert any(kept in row for row in rows), "only those of the deleted server go"
    for operation_id in (accepted["operationId"], str(failed.id), deletion["operationId"]):
        shown = customer.operation(operation_id)
        assert (shown["variant"], shown["request"]["memoryMiB"]) == ("vanilla", 2048)
    assert len(customer.get("/api/instances/operations").json()["operations"]) == 4
    assert customer.get(server).json()["code"] == "deleted"
    assert customer.request("POST", f"/api/instances/operations/{accepted['operationId']}/retry").status_code == 409
    assert customer.operation(other["operationId"])["request"]["env"] == {"TOKEN": "***"}


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ("active", 202, None),
        ("past_due", 402, "payment-required"),
        ("overdue_warning", 402, "payment-required"),
        ("suspended", 403, "customer-suspended"),
        ("retained", 403, "customer-suspended"),
        ("pending_deletion", 403, "customer-suspended"),
    ],
)
def test_heeds_the_billing_state(api: Api, state: str, status: int, code: str | None) -> None:
    customer = api.customer(billing_state=state)
    answer = customer.post(GAME)
    if code is None:
        assert answer.status_code == status
    else:
        is_problem(answer, status, code)
        assert nothing_was_written(api, customer)
    assert customer.get("/api/instances").status_code == 200


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ("past_due", 202, None),
        ("overdue_warning", 202, None),
        ("suspended", 403, "customer-suspended"),
        ("retained", 403, "customer-suspended"),
        ("pending_deletion", 403, "customer-suspended"),
    ],
)
def test_heeds_the_billing_state_of_a_deletion_but_not_of_an_operators(
    api: Api, state: str, status: int, code: str | None
) -> None:
    customer = api.customer()
    mine, other = (customer.order(each) for each in (GAME, DEV))
    for accepted in (mine, other):
        api.complete(accepted)
    accounts.update_customer(api.database, str(customer.customer_id), billing_state=state)
    answer = customer.delete(f"/api/instances/{mine['serverId']}")
    if code is None:
        assert answer.status_code == status, answer.text
    else:
        is_problem(answer, status, code)
        assert customer.delete(f"/api/instances/{uuid4()}").content == answer.content
        assert operations_of(api, customer) == 2
    assert api.caller(None).delete(f"/api/instances/{other['serverId']}").status_code == 202


def test_refuses_what_is_over_quota(api: Api) -> None:
    customer = api.customer(max_instances=2)
    ready, flying = customer.order(GAME), customer.order(DEV)
    api.complete(ready)
    answer = customer.post(PAPER)
    is_problem(answer, 403, "quota-exceeded", resource="instances", limit=2, used=2, requested=1)
    deleting = customer.delete(f"/api/instances/{ready['serverId']}").json()
    is_problem(customer.post(PAPER), 403, "quota-exceeded", used=2)
    api.complete_teardown(deleting)
    customer.order(PAPER)
    assert customer.operation(flying["operationId"])["status"] == "queued"


@pytest.mark.parametrize(
    ("limits", "members"),
    [
        ({"max_memory_mib": 4095}, {"resource": "memoryMiB", "limit": 4095, "used": 2048, "requested": 2048}),
        ({"max_cpu_cores": 3}, {"resource": "cpuCores", "limit": 3, "used": 2, "requested": 2}),
    ],
)
def test_counts_memory_and_cores(api: Api, limits: dict[str, int], members: dict[str, Any]) -> None:
    customer = api.customer(**limits)
    customer.order(GAME)
    is_problem(customer.post(DEV), 403, "quota-exceeded", **members)


def test_limits_each_container_type_beside_the_total(api: Api) -> None:
    customer = api.customer(max_instances=3, quotas={"game": Limits(instances=1), "dev": Limits(memory_mib=4096)})
    customer.order(GAME)
    answer = customer.post(PAPER, Idempotency_Key="second")
    is_problem(answer, 403, "quota-exceeded", resource="instances", ctype="game", limit=1, used=1, requested=1)
    customer.order(DEV, Idempotency_Key="one")
    customer.order(DEV, Idempotency_Key="two")
    is_problem(customer.post(DEV, Idempotency_Key="three"), 403, "quota-exceeded", ctype=None, limit=3, used=3)
    accounts.update_customer(api.database, str(customer.customer_id), max_instances=20, quotas={"game": Limits()})
    is_problem(
        customer.post(DEV, Idempotency_Key="three"), 403, "quota-exceeded",
        resource="memoryMiB", ctype="dev", limit=4096, used=4096, requested=2048,
    )  # fmt: skip
    customer.order(PAPER, Idempotency_Key="second")


@pytest.mark.parametrize("status", ["failed", "quarantined"])
def test_counts_nothing_that_failed_or_is_quarantined(api: Api, status: str) -> None:
    customer = api.customer(max_instances=1)
    accepted = customer.order(GAME)
    is_problem(customer.post(DEV), 403, "quota-exceeded")
    api.name(api.claim(accepted["operationId"]))
    api.query("update instance set status = %s::instance_status where id = %s", status, accepted["serverId"])
    customer.order(DEV)


@pytest.mark.parametrize(
    "limits",
    [{"max_instances": 3}, {"max_memory_mib": 3 * 2048}, {"quotas": {"game": Limits(instances=3)}},
     {"quotas": {"game": Limits(cpu_cores=6)}}],
    ids=["instances", "memory", "instances of a type", "cores of a type"],
)  # fmt: skip
def test_never_overshoots_the_quota_with_parallel_orders_at_several_processes(api: Api, limits: dict[str, Any]) -> None:
    customer = api.customer(**limits)
    with running_api(api.database.url) as second, running_api(api.database.url) as third:
        doors = [replace(customer, http=each.http) for each in (api, second, third)]
        answers = together(50, lambda number: doors[number % 3].post(GAME, Idempotency_Key=f"parallel-{number}"))
    assert Counter(answer.status_code for answer in answers) == {202: 3, 403: 47}
    refused = [answer.json() for answer in answers if answer.status_code == 403]
    assert {problem["used"] // problem["requested"] for problem in refused} == {3}
    assert operations_of(api, customer) == 3


def _tokens(api: Api) -> Iterator[tuple[str, Caller]]:
    customer_id = str(api.customer().customer_id)
    revoked = api.caller(customer_id)
    api.query("update token set revoked_at = now() where hash = %s", accounts.hash_token(str(revoked.token)))
    yield "none", api.stranger()
    yield "unknown", api.stranger("hw_" + "A" * 43)
    yield "long", api.stranger("A" * 5_000)
    yield "expired", api.caller(customer_id, datetime.now(UTC) - timedelta(seconds=1))
    yield "revoked", revoked


@pytest.mark.parametrize("kind", ["none", "unknown", "long", "expired", "revoked"])
def test_turns_away_who_has_no_good_token(api: Api, kind: str) -> None:
    caller = dict(_tokens(api))[kind]
    unknown = uuid4()
    answers = [
        caller.post(GAME),
        caller.post({}, Idempotency_Key="a b"),
        caller.get("/api/instances?limit=nonsense"),
        caller.get(f"/api/instances/{unknown}"),
        caller.get("/api/instances/not-an-id"),
        caller.delete(f"/api/instances/{unknown}"),
        caller.get("/api/instances/operations?status=nonsense"),
        caller.get(f"/api/instances/operations/{unknown}", Prefer="wait=5"),
        caller.get("/api/instances/operations/not-an-id", Prefer="wait=5"),
        caller.get(f"/api/instances/operations/{unknown}/events"),
        caller.get("/api/servers"),
    ]
    for answer in answers:
        is_problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Basic aHc6aHc=", "Bearer", "hw_token", "Bearer é"])
def test_turns_away_other_credentials(api: Api, header: str) -> None:
    answer = api.http.get("/api/instances", headers={b"Authorization": header.encode()})
    is_problem(answer, 401, "unauthenticated")


def test_takes_a_token_until_it_expires(api: Api, customer: Caller) -> None:
    later = api.caller(str(customer.customer_id), datetime.now(UTC) + timedelta(hours=1))
    assert later.get("/api/instances").status_code == 200


def test_forbids_a_customer_to_order_for_one(api: Api, customer: Caller) -> None:
    other = api.customer()
    for named in (other.customer_id, customer.customer_id):
        is_problem(customer.post(GAME | {"customerId": named}), 403, "forbidden")
    assert nothing_was_written(api, customer)
    assert nothing_was_written(api, other)


def test_lets_an_operator_order_for_a_customer(api: Api, customer: Caller) -> None:
    operator = api.caller(None)
    accepted = operator.order(GAME | {"customerId": customer.customer_id}, Idempotency_Key="k")
    assert customer.operation(accepted["operationId"])["customerId"] == customer.customer_id
    assert customer.order(GAME, Idempotency_Key="k") == accepted
    problem = is_problem(operator.post(GAME), 400, "invalid-request")
    assert [error["pointer"] for error in problem["errors"]] == ["/customerId"]
    problem = is_problem(operator.post(GAME | {"customerId": "nobody"}), 400, "invalid-request")
    assert problem["errors"] == [{"pointer": "/customerId", "detail": "is not a known customer"}]


def padded(size: int) -> bytes:
    """An order of exactly so many bytes."""
    body = json.dumps(GAME).encode()
    return body + b" " * (size - len(body))


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
def test_holds_the_limit_of_the_body(api: Api, customer: Caller, chunked: bool) -> None:
    def send(size: int) -> httpx.Response:
        body = padded(size)
        content = iter([body[:1000], body[1000:]]) if chunked else body
        return customer.request("POST", "/api/instances", content=content, headers=JSON)

    is_problem(send(LIMIT + 1), 413, "body-too-large")
    assert nothing_was_written(api, customer)
    assert send(LIMIT).status_code == 202


def test_refuses_a_far_too_large_body_without_reading_it(api: Api, customer: Caller) -> None:
    head = f"POST /api/instances HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {customer.token}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n"
    with socket.create_connection((api.http.base_url.host, api.http.base_url.port), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body-too-large" in answer


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
def test_refuses_another_content_type(api: Api, customer: Caller, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = customer.request("POST", "/api/instances", content=json.dumps(GAME).encode(), headers=headers)
    is_problem(answer, 415, "unsupported-media-type")
    assert nothing_was_written(api, customer)


def test_takes_a_content_type_with_parameters(customer: Caller) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    answer = customer.request("POST", "/api/instances", content=json.dumps(GAME).encode(), headers=headers)
    assert answer.status_code == 202


def test_waits_for_the_end_of_an_order_when_asked(stack: Running) -> None:
    client = stack.customer()
    answer = stack.post(client, DEV, Prefer="wait=30", Idempotency_Key="waits")
    body = answer.json()
    assert (answer.status_code, body["status"], body["phase"]) == (202, "succeeded", "complete")
    assert answer.headers["preference-applied"] == "wait=30"
    again = stack.post(client, DEV, Prefer="wait=30", Idempotency_Key="waits")
    assert (again.content, again.headers["idempotency-replayed"]) == (answer.content, "true")
    assert stack.tear_down(client, body["serverId"])["status"] == "succeeded"


def test_answers_an_order_after_the_time_asked_for(customer: Caller) -> None:
    answer = customer.post(GAME, Prefer="wait=1")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "wait=1"
    assert answer.elapsed.total_seconds() >= 1
