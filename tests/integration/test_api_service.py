"""What stands around the contract: health, readiness, errors of HTTP itself, and the OpenAPI document."""

import hashlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from jsonschema import Draft202012Validator

from orchestrator.api.endpoints import INSTANCE_ENDPOINTS, OPERATOR_ENDPOINTS
from orchestrator.api.instances.orders import KEY
from orchestrator.domain.errors import Problem
from orchestrator.store import accounts, sweep
from orchestrator.store.connection import Database
from tests.support.fix_api import Api, Caller, is_problem, running_api
from tests.support.fix_lab_proxmox import wait_until
from tests.support.fix_stack import DEV, GAME, Running

OPERATIONS = "/api/instances/operations"


@pytest.fixture(scope="module")
def document(api: Api) -> dict[str, Any]:
    answer = api.http.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Every object within a JSON value."""
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(inner)


def resolve(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def validate(document: dict[str, Any], path: str, answer: httpx.Response) -> None:
    """Asserts that an answer is what the document says of its path, method and status."""
    method = answer.request.method.lower()
    kind = answer.headers["content-type"]
    found = document["paths"][path][method]["responses"][str(answer.status_code)]
    response = resolve(document, found["$ref"]) if "$ref" in found else found
    schema = response["content"][kind]["schema"]
    whole = schema | {"components": document["components"]}
    Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(answer.json())


def test_is_alive(api: Api) -> None:
    answer = api.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_is_ready_with_a_live_worker(stack: Running) -> None:
    answer = httpx.get(f"{stack.url}/readyz", trust_env=False)
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "database": True, "migrations": True, "worker": True}


def test_is_not_ready_without_a_worker(database_url: str, database: Database) -> None:
    with running_api(database_url) as api:
        expected = {"ready": False, "database": True, "migrations": True, "worker": False}
        answer = api.http.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, expected)
        sweep.worker_seen(database, "w")
        assert api.http.get("/readyz").status_code == 200
        api.query("update worker set seen_at = now() - interval '1 minute'")
        assert api.http.get("/readyz").json() == expected
        sweep.worker_seen(database, "w")
        api.query("delete from schema_migration")
        answer = api.http.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, expected | {"migrations": False})


def test_lets_no_strangers_take_all_threads_by_asking_whether_it_is_ready(database_url: str) -> None:
    waiting = "select count(*) from pg_locks where relation = 'schema_migration'::regclass and not granted"
    with running_api(database_url, pool_size="2") as api, ThreadPoolExecutor(8) as pool:
        caller = api.customer()
        with psycopg.connect(database_url) as holding:
            holding.execute("lock table schema_migration in access exclusive mode")
            asking = [pool.submit(api.http.get, "/readyz") for _ in range(8)]
            wait_until(lambda: api.query(waiting)[0][0] > 0)
            answer = caller.request("GET", "/api/instances", timeout=10)
            assert answer.status_code == 200
            assert api.query(waiting) == [(1,)]
            assert not any(each.done() for each in asking)
        assert [each.result().json()["migrations"] for each in asking] == [True] * 8


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/api",
        "/api/instances/",
        "/healthz/",
        "/api/instances/a/b",
        "/api/instances/operations/a/b/c",
        "/api/x",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_answers_404_on_an_unknown_path(api: Api, method: str, path: str) -> None:
    is_problem(api.http.request(method, path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/instances", {"GET", "HEAD", "POST"}),
        ("PATCH", "/api/servers", {"GET", "HEAD", "POST"}),
        ("DELETE", "/api/instances", {"GET", "HEAD", "POST"}),
        ("POST", "/api/instances/5000", {"GET", "HEAD", "DELETE"}),
        ("POST", f"{OPERATIONS}/x", {"GET", "HEAD"}),
        ("DELETE", f"{OPERATIONS}/x/events", {"GET", "HEAD"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
        ("OPTIONS", "/api/instances", {"GET", "HEAD", "POST"}),
        ("POST", "/openapi.json", {"GET", "HEAD"}),
    ],
)
def test_answers_405_to_a_wrong_method(api: Api, method: str, path: str, allowed: set[str]) -> None:
    answer = api.http.request(method, path)
    is_problem(answer, 405, "method-not-allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed


def test_answers_head_as_get_without_a_body(api: Api) -> None:
    customer = api.customer()
    accepted = customer.order(GAME)
    for path in ("/api/instances", f"{OPERATIONS}/{accepted['operationId']}", f"/api/instances/{accepted['serverId']}"):
        got, head = customer.get(path), customer.request("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")
        assert set(head.headers.items()) - set(got.headers.items()) <= {("date", head.headers["date"])}
    is_problem(api.http.get("/api/instances"), 401, "unauthenticated")
    assert api.http.head("/api/instances").status_code == 401


def test_lets_no_browser_guess(api: Api) -> None:
    customer = api.customer()
    for answer in (
        api.http.get("/healthz"),
        api.http.get("/openapi.json"),
        api.http.get("/nothing"),
        api.http.put("/api/instances"),
        api.http.get("/api/instances"),
        customer.get("/api/instances"),
        customer.post(GAME),
        customer.post({}),
        customer.get("/api/instances?a=" + "x" * 9_000),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/api/instances", "/api/customers/x", "/healthz", "/internal/velocity/proxy-status"])
def test_refuses_a_preflight_of_another_origin(api: Api, path: str) -> None:
    asking = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    answer = api.http.options(path, headers=asking)
    is_problem(answer, 405, "method-not-allowed")
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_refuses_a_body_where_none_is_wanted(api: Api, method: str, chunked: bool) -> None:
    customer = api.customer()
    content = iter([b"{}"]) if chunked else b"{}"
    answer = customer.request(method, "/api/instances/5", content=content)
    is_problem(answer, 400, "invalid-request")


def test_bounds_the_head_of_a_request(api: Api) -> None:
    customer = api.customer()
    assert customer.get("/api/instances?limit=1&a=" + "x" * 8_000).status_code == 200
    is_problem(customer.get("/api/instances?a=" + "x" * 9_000), 414, "uri-too-long")
    assert customer.get("/api/instances", X_Long="x" * 15_000).status_code == 200
    is_problem(customer.get("/api/instances", X_Long="x" * 17_000), 431, "headers-too-large")
    is_problem(
        customer.request("GET", "/api/instances", headers={f"X-{number}": "x" * 90 for number in range(200)}),
        431,
        "headers-too-large",
    )


CHUNKED = (
    b"POST /api/callbacks/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@pytest.mark.parametrize(
    "begin",
    [
        b"GET /api HTTP/1.1\r\nX: ",
        b"GET /",
        b"GET / HTTP/1.1\r\n",
        CHUNKED + b"2\r\n{}\r\n0\r\n",
        CHUNKED + b"2;",
    ],
    ids=["header", "target", "headers", "trailers", "chunk extension"],
)
def test_ends_a_head_that_never_ends(api: Api, begin: bytes) -> None:
    sent = 0
    with socket.create_connection((api.http.base_url.host, api.http.base_url.port), timeout=10) as connection:
        connection.sendall(begin)
        piece = b"X: y\r\n" * 100 if begin.endswith(b"\r\n") else b"x" * 1_000
        with suppress(ConnectionError):
            while sent < 50_000_000:
                connection.sendall(piece)
                sent += len(piece)
    assert sent < 50_000_000
    assert api.http.get("/healthz").status_code == 200


def test_takes_a_request_that_follows_a_large_body_in_one_piece(api: Api) -> None:
    body = b'{"status": "failed", "message": "' + b"x" * 45_000 + b'"}'
    head = b"POST /api/callbacks/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    first = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection((api.http.base_url.host, api.http.base_url.port), timeout=10) as connection:
        connection.sendall(first + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answers = b""
        while answers.count(b"HTTP/1.1 ") < 2 and (piece := connection.recv(65536)):
            answers += piece
    assert next(line.split()[1] for line in answers.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")) != b"431"
    assert b"HTTP/1.1 200" in answers


def test_does_not_wait_for_ever_for_a_body_or_a_head(api: Api) -> None:
    customer = api.customer()
    head = (
        "POST /api/instances HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 40\r\n"
        f"Authorization: Bearer {customer.token}\r\n\r\n"
    )

    def begin(text: bytes) -> bytes:
        """What is answered to the beginning of a request, until the connection is closed."""
        with socket.create_connection((api.http.base_url.host, api.http.base_url.port), timeout=40) as connection:
            connection.sendall(text)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    with ThreadPoolExecutor(2) as threads:  # each takes its time
        body, rest_of_head = threads.map(begin, (head.encode(), b"GET /healthz HTTP/1.1\r\n"))
    assert b"did not come within" in body
    assert rest_of_head == b""


def test_asks_again_who_asks_when_the_body_has_come(api: Api) -> None:
    operator = api.caller(None)
    body = b'{"name": "x", "operator": true}'
    head = (
        f"POST /api/tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Authorization: Bearer {operator.token}\r\n\r\n"
    )
    with socket.create_connection((api.http.base_url.host, api.http.base_url.port), timeout=40) as connection:
        connection.sendall(head.encode())
        digest = hashlib.sha256(str(operator.token).encode()).digest()
        used = "select id from token where hash = %s and last_used_at is not null"
        while not (found := api.query(used, digest)):  # until the head is read
            time.sleep(0.02)
        assert accounts.revoke_token(api.database, found[0][0])
        while operator.get("/api/tokens").status_code != 401:  # until the process has heard of it
            time.sleep(0.02)
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")


def cpu_seconds(api: Api, path: str) -> float:
    """What the API takes to answer 600 requests for a path."""
    process = psutil.Process(api.pid)
    before = process.cpu_times()
    for _ in range(600):
        assert api.http.get(path).status_code == 200
    after = process.cpu_times()
    return after.user + after.system - before.user - before.system


def test_case_c9_shows_a_document_that_was_rendered_once(api: Api) -> None:
    assert cpu_seconds(api, "/openapi.json") < 2 * cpu_seconds(api, "/healthz")


def test_resolves_every_reference_of_the_document(document: dict[str, Any]) -> None:
    references = [node["$ref"] for node in walk(document) if isinstance(node.get("$ref"), str)]
    assert len(references) > 20
    for reference in references:
        assert resolve(document, reference)


def test_asks_the_billing_state_before_every_change_but_an_order() -> None:
    """An order is decided with its other facts (orchestrator.domain.admission)."""
    changes = [each for each in INSTANCE_ENDPOINTS if each.changes]
    assert {(each.method, each.path) for each in changes if each.action is None} == {("POST", "")}
    assert {each.path for each in OPERATOR_ENDPOINTS if not each.operator} == set()


def test_documents_path_parameters_and_answers(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        named = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        for operation in methods.values():
            in_path = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            assert in_path == named
            assert all(each["required"] for each in operation["parameters"] if each["in"] == "path")
            assert any(status.startswith("2") for status in operation["responses"])


def test_has_only_valid_schemas(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_case_f1_describes_every_map_as_generators_of_clients_read_it(document: dict[str, Any]) -> None:
    """They take no notice of `patternProperties`, and drop what is in no property when nothing else may be there."""
    assert not [node for node in walk(document) if "patternProperties" in node]
    maps = [node for node in walk(document) if isinstance(node.get("additionalProperties"), dict)]
    assert {"maxLength": 1024, "type": "string"} in [node["additionalProperties"] for node in maps]
    assert not [node for node in walk(document) if node.get("additionalProperties") is False and not node["properties"]]


def schema_of_header(document: dict[str, Any], path: str, name: str) -> dict[str, Any]:
    """What the document says of a header of a POST."""
    parameters = document["paths"][path]["post"]["parameters"]
    (found,) = (each["schema"] for each in parameters if (each["in"], each["name"]) == ("header", name))
    schema: dict[str, Any] = found
    return schema


def test_documents_the_headers_as_they_are_read(document: dict[str, Any]) -> None:
    schema_of_header(document, "/internal/velocity/proxy-status", "X-Zpack-Secret")
    key = Draft202012Validator(schema_of_header(document, "/api/instances", "Idempotency-Key"))
    for text in ("k", '"k"', "x" * 255, f'"{"x" * 255}"', "a\\b"):
        assert key.is_valid(text), text
        assert KEY.read({"Idempotency-Key": text}) == text.strip('"')
    for text in ("", '"', '""', "a b", '"k', 'k"', "x" * 256, '"a\\b"', '"a\\"'):
        assert not key.is_valid(text), text
        with pytest.raises(Problem):
            KEY.read({"Idempotency-Key": text})


def test_documents_what_an_order_may_hold(document: dict[str, Any]) -> None:
    body = document["paths"]["/api/instances"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    validator = Draft202012Validator(body | {"components": document["components"]})
    for good in (GAME, DEV, GAME | {"memoryMiB": 4096, "env": {"A": "1"}, "onFailure": "keep"}):
        validator.validate(good)
    for bad in ({}, GAME | {"ctype": "vm"}, GAME | {"bogus": 1}, GAME | {"env": {"a b": "x"}}, DEV | {"runtime": 1}):
        assert not validator.is_valid(bad)


def test_answers_as_documented(api: Api, document: dict[str, Any]) -> None:
    customer = api.customer(max_instances=2)
    ordered = customer.post(GAME)
    validate(document, "/api/instances", ordered)
    accepted = ordered.json()
    for state in ("queued", "done"):
        instance, operation = accepted["serverId"], accepted["operationId"]
        validate(document, "/api/instances/{server_id}", customer.get(f"/api/instances/{instance}"))
        validate(document, f"{OPERATIONS}/{{operation_id}}", customer.get(f"{OPERATIONS}/{operation}"))
        validate(document, f"{OPERATIONS}/{{operation_id}}/events", customer.get(f"{OPERATIONS}/{operation}/events"))
        validate(document, OPERATIONS, customer.get(OPERATIONS))
        validate(document, "/api/instances", customer.get("/api/instances"))
        if state == "queued":
            api.complete(accepted)
    validate(document, "/api/instances/{server_id}", customer.delete(f"/api/instances/{accepted['serverId']}"))
    _check_problems(api, customer, document)


def _check_problems(api: Api, customer: Caller, document: dict[str, Any]) -> None:
    refused = [
        customer.post({}),
        customer.post(GAME | {"customerId": "x"}),
        customer.request("POST", "/api/instances", content=b"{}"),
        customer.request("POST", "/api/instances", content=b" " * 70_000, headers={"Content-Type": "application/json"}),
        api.stranger().post(GAME),
        api.customer(billing_state="past_due").post(GAME),
        api.customer(max_instances=0).post(GAME),
    ]
    customer.order(DEV)
    refused.append(customer.post(DEV | {"version": "3.11"}))
    assert [answer.status_code for answer in refused] == [400, 403, 415, 413, 401, 402, 403, 409]
    for answer in refused:
        validate(document, "/api/instances", answer)
    validate(document, "/api/instances/{server_id}", customer.get("/api/instances/5"))


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"server_name": "x", "event": []},
        {"server_name": "x", "event": {}},
        {"server_name": 1, "event": "proxy_ping_ok"},
        {"server_name": "\0", "event": "proxy_ping_ok"},
        {"server_name": "\ud800", "event": "proxy_ping_ok"},
        {"server_name": "x" * 254, "event": "proxy_ping_ok"},
        {"server_name": "x", "event": "nonsense"},
    ],
    ids=str,
)
def test_refuses_a_wrong_callback_of_the_proxy(stack: Running, body: Any) -> None:
    is_problem(_call_back(stack, body, _bridge_secret(stack)), 400, "invalid-request")


def test_takes_callbacks_only_with_the_secret_of_the_bridge(stack: Running) -> None:
    good = {"serverName": "nobody", "event": "proxy_ping_ok"}
    assert _call_back(stack, good, _bridge_secret(stack)).status_code == 204
    for secret in ("", "wrong", stack.lab.secrets["velocity_secret"]):
        is_problem(_call_back(stack, good, secret), 401, "unauthenticated")


def _bridge_secret(stack: Running) -> str:
    return hashlib.sha256(stack.lab.secrets["velocity_secret"].encode()).hexdigest()


def _call_back(stack: Running, body: Any, secret: str) -> httpx.Response:
    return httpx.post(
        f"{stack.url}/internal/velocity/proxy-status",
        content=json.dumps(body).encode(),
        headers={"X-Zpack-Secret": secret, "Content-Type": "application/json"},
        trust_env=False,
    )
