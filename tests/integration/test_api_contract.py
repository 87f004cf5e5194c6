"""The OpenAPI document is whole: what the running API serves, takes, answers and sends stands in it, and no more."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.applications import Starlette
from starlette.routing import Route

from orchestrator.api.app import make_app
from orchestrator.api.http.headers import SECURITY_HEADERS, Guard
from orchestrator.settings import load_settings
from tests.support.fix_api import Api, Caller, running_api
from tests.support.fix_stack import DEV, GAME
from tests.support.signing import sign

METHODS = ("get", "post", "put", "delete")
OPERATIONS = "/api/instances/operations"
OF_EACH_MESSAGE = {"date", "content-length", "content-type", "transfer-encoding"}
"""The headers of HTTP messages themselves. OpenAPI tells the media type at `content`."""


@pytest.fixture(scope="module")
def document(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.http.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation with its path and method."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def resolve(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """What a node refers to, or the node."""
    while "$ref" in node:
        reference = node["$ref"]
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    return node


def responses(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every response with a name for messages."""
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            yield f"{method} {path} {status}", resolve(document, response)


def properties(node: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of a schema, and of those within it, with its place."""
    if isinstance(node, dict):
        for name, schema in node.get("properties", {}).items():
            yield f"{where}.{name}", schema
        for name, inner in node.items():
            yield from properties(inner, f"{where}.{name}")
    elif isinstance(node, list):
        for inner in node:
            yield from properties(inner, where)


def check(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Asserts that a value is what a schema of the document says."""
    whole = schema | {"components": document["components"]}
    Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


def test_case_f2_is_valid_openapi(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_case_f2_has_every_route_and_no_other(document: dict[str, Any], database_url: str) -> None:
    guard = make_app(load_settings(database_url=database_url))
    assert isinstance(guard, Guard)
    application = guard._app
    assert isinstance(application, Starlette)
    # HEAD is answered wherever GET is, as HTTP demands.
    routes = {
        (route.path, method.lower())
        for route in application.routes
        if isinstance(route, Route)
        for method in (route.methods or ())
        if method != "HEAD"
    }
    assert len(application.routes) == len({path for path, _ in routes})
    assert {(path, method) for path, method, _ in operations(document)} == routes
    assert {method for _, method, _ in operations(document)} <= set(METHODS)
    assert ("/api/servers/{server_id}", "delete") in routes


def test_case_f2_names_groups_and_describes_every_operation(document: dict[str, Any]) -> None:
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    found = [operation for _, _, operation in operations(document)]
    assert {tag for operation in found for tag in operation["tags"]} == set(tags)
    assert all(tags.values())
    names = [operation["operationId"] for operation in found]
    assert len(set(names)) == len(names)
    for operation in found:
        assert operation["operationId"].isalnum()
        assert operation["summary"], operation["operationId"]
        assert operation["description"], operation["operationId"]
        for parameter in operation["parameters"]:
            assert parameter["description"].endswith("."), (operation["operationId"], parameter["name"])


def test_case_f2_describes_every_property_and_answer(document: dict[str, Any]) -> None:
    found = dict(properties(document["components"]["schemas"]))
    assert len(found) > 200
    assert [where for where, schema in found.items() if not schema.get("description", "").strip()] == []
    assert [name for name, model in document["components"]["schemas"].items() if not described(model)] == []
    for name, response in responses(document):
        assert response["description"], name
        for header in response["headers"].values():
            assert resolve(document, header)["description"].endswith("."), name


def described(model: dict[str, Any]) -> bool:
    """Whether a model says what it is. The words of an enum speak for themselves."""
    return bool(model.get("description")) or "enum" in model


def test_case_f2_gives_every_body_a_valid_example(document: dict[str, Any]) -> None:
    seen = 0
    bodies = [
        (path, operation["requestBody"]) for path, _, operation in operations(document) if "requestBody" in operation
    ]
    for where, holder in [*bodies, *responses(document)]:
        for content in holder.get("content", {}).values():
            examples = [each["value"] for each in content.get("examples", {}).values()]
            examples += [content["example"]] if "example" in content else []
            assert examples, where
            for example in examples:
                check(document, content["schema"], example)
            seen += len(examples)
        for header in holder.get("headers", {}).values():
            described_header = resolve(document, header)
            check(document, described_header["schema"], described_header["example"])
    assert seen > 200


def test_case_f2_tells_the_orders_apart(document: dict[str, Any]) -> None:
    body = document["paths"]["/api/instances"]["post"]["requestBody"]["content"]["application/json"]
    name = body["schema"]["discriminator"]["propertyName"]
    assert {each["value"][name] for each in body["examples"].values()} == {"game", "dev"}
    for word, reference in body["schema"]["discriminator"]["mapping"].items():
        assert resolve(document, {"$ref": reference})["properties"][name]["const"] == word


def test_case_f2_names_what_any_request_may_meet(document: dict[str, Any]) -> None:
    for path, _, operation in operations(document):
        statuses = set(operation["responses"])
        assert {"400", "405", "414", "431", "500"} <= statuses, path
        assert ("requestBody" in operation) == ({"413", "415"} <= statuses), path
        if operation.get("security", True):
            assert {"401", "429", "503"} <= statuses, path
        assert "422" not in statuses


def test_case_f2_documents_the_security_headers_of_every_answer(document: dict[str, Any]) -> None:
    expected = {name.decode() for name, _ in SECURITY_HEADERS}
    for name, response in responses(document):
        assert expected <= {header.lower() for header in response["headers"]}, name


def test_case_f2_takes_a_key_as_a_quoted_string(api: Api) -> None:
    customer = api.customer()
    bare = customer.post(GAME, Idempotency_Key="8e03978e-40d5-43dd-bc93-6894a57f9324")
    quoted = customer.post(GAME, Idempotency_Key='"8e03978e-40d5-43dd-bc93-6894a57f9324"')
    assert (bare.status_code, quoted.status_code) == (202, 202)
    assert quoted.json() == bare.json()
    assert quoted.headers["idempotency-replayed"] == "true"
    escaped = customer.post(DEV, Idempotency_Key='"a\\\\b"')
    assert customer.post(DEV, Idempotency_Key="a\\b").json() == escaped.json()


# what is really sent


def ask_of_every_kind(api: Api, slow: Api) -> Iterator[tuple[str, httpx.Response]]:
    """Real answers of many kinds, with the paths in the document that they are answers of."""
    customer, operator = api.customer(max_instances=3), api.caller(None)
    order, shown, instance = "/api/instances", f"{OPERATIONS}/{{operation_id}}", "/api/instances/{server_id}"
    ordered = customer.post(GAME, Idempotency_Key="k")
    operation, server = ordered.json()["operationId"], ordered.json()["serverId"]
    yield order, ordered
    yield order, customer.post(GAME, Idempotency_Key="k", Prefer="wait=0")
    yield order, customer.post(DEV, Idempotency_Key="k")
    yield order, customer.post({})
    yield order, customer.request("POST", order, content=b"x", headers={"Content-Type": "text/plain"})
    yield order, customer.request("POST", order, content=b" " * 70_000, headers={"Content-Type": "application/json"})
    yield order, customer.request("GET", order, content=b"{}")
    yield order, api.http.get(order)
    yield order, customer.get(f"{order}?a={'x' * 9_000}")
    yield order, customer.get(order, X_Long="x" * 17_000)
    found = customer.get(f"{OPERATIONS}/{operation}")
    yield shown, found
    yield shown, customer.get(f"{OPERATIONS}/{operation}", If_None_Match=found.headers["etag"])
    yield shown, customer.get(f"{OPERATIONS}/{operation}", Prefer="wait=0")
    yield shown, customer.get(f"{OPERATIONS}/{server}")
    yield instance, customer.get(f"/api/instances/{server}")
    yield instance, customer.delete(f"/api/instances/{server}")
    yield f"{shown}/cancel", customer.request("POST", f"{OPERATIONS}/{operation}/cancel")
    yield f"{shown}/events", customer.get(f"{OPERATIONS}/{operation}/events")
    yield "/api/servers", many_servers(slow, slow.customer()).get("/api/servers")
    yield "/api/customers", customer.get("/api/customers")
    yield "/api/customers", operator.get("/api/customers")
    yield "/api/tokens", operator.request("POST", "/api/tokens", json={"name": "x", "operator": True})
    for path in ("/healthz", "/readyz", "/openapi.json"):
        yield path, api.http.get(path)
    yield "/internal/billing", bill(api)
    yield "/internal/billing", bill(slow)
    yield "/internal/velocity/proxy-status", api.http.post("/internal/velocity/proxy-status", json={})
    yield "/api/callbacks/{token}", api.http.post("/api/callbacks/x", json={"status": "failed"})
    hasty = slow.customer()
    yield order, hasty.get(order)
    yield order, hasty.get(order)


def many_servers(api: Api, customer: Caller) -> Caller:
    """The customer with more servers than the predecessor's list has room for, on a database of its own."""
    api.query(
        "insert into instance (id, customer_id, ctype, spec, memory_mib, cpu_cores, created_at) "
        "select gen_random_uuid(), %s, 'dev', '{}', 1, 1, now() from generate_series(1, 1000)",
        customer.customer_id,
    )
    return customer


def bill(api: Api) -> httpx.Response:
    """An event for the billing webhook, with a wrong signature."""
    headers = {"X-Hostwright-Signature": sign("wrong", int(time.time()), b"{}"), "Content-Type": "application/json"}
    return api.http.post("/internal/billing", content=b"{}", headers=headers)


def test_case_f2_documents_every_answer_and_header_that_is_really_sent(
    api: Api, document: dict[str, Any], database_url: str, tmp_path: Path
) -> None:
    statuses = set()
    secrets = tmp_path / "secrets.json"
    secrets.write_text('{"billing_secret": "of the billing system"}')
    secrets.chmod(0o600)
    hasty = {"rate_per_second": "0.01", "rate_burst": "1", "secrets_file": str(secrets)}
    with running_api(database_url, **hasty) as slow:
        for path, answer in ask_of_every_kind(api, slow):
            statuses.add(answer.status_code)
            check_answer(document, path, answer)
    assert statuses >= {200, 201, 202, 304, 400, 401, 403, 404, 409, 413, 414, 415, 429, 431, 503}


def check_answer(document: dict[str, Any], path: str, answer: httpx.Response) -> None:
    """Asserts that the document has an answer's status, each of its headers as it is, and its body."""
    where = f"{answer.request.method} {path} {answer.status_code}"
    operation = document["paths"][path][answer.request.method.lower()]
    assert str(answer.status_code) in operation["responses"], where
    response = resolve(document, operation["responses"][str(answer.status_code)])
    documented = {name.lower(): resolve(document, header) for name, header in response["headers"].items()}
    assert set(answer.headers) - OF_EACH_MESSAGE <= set(documented), where
    for name, header in documented.items():
        assert name in answer.headers or not header["required"], (where, name)
        value: Any = answer.headers.get(name, header["example"])
        check(document, header["schema"], int(value) if header["schema"]["type"] == "integer" else value)
    assert bool(answer.content) == ("content" in response), where
    if answer.content:
        check(document, response["content"][answer.headers["content-type"]]["schema"], answer.json())


def test_case_f2_documents_the_answer_to_another_method(api: Api, document: dict[str, Any]) -> None:
    answer = api.http.put("/api/instances")
    assert answer.status_code == 405
    response = resolve(document, document["paths"]["/api/instances"]["get"]["responses"]["405"])
    assert set(answer.headers) - OF_EACH_MESSAGE <= {name.lower() for name in response["headers"]}
    check(document, response["content"][answer.headers["content-type"]]["schema"], answer.json())
