"""The API against its own OpenAPI document: whatever is sent by whomever, the answer is one that it describes."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from requests import Session
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from orchestrator.api.endpoints import LEGACY_PREFIX
from orchestrator.api.openapi.document import document
from orchestrator.domain.errors import PROBLEM_STATUS, ProblemCode
from orchestrator.domain.models import Lease
from orchestrator.domain.phases import Phase
from orchestrator.domain.updates import PhaseEntered
from orchestrator.store import accounts, callbacks, endings, leases
from tests.support.fix_api import Api, Caller, lease_of, running_api
from tests.support.fix_database import fresh_database
from tests.support.signing import sign
from tests.support.storage import FAILURE, LEAKED, undone

Operation = APIOperation[Any, Any, Any, Any]
Asked = Case[Any]
DOCUMENT = document("0")
# An alias has the handler of the path that it stands for, and so need not be asked again.
DOCUMENT["paths"] = {
    path: methods
    for path, methods in DOCUMENT["paths"].items()
    if not any(operation["operationId"].startswith("legacy") for operation in methods.values())
} | {LEGACY_PREFIX: {"get": DOCUMENT["paths"][LEGACY_PREFIX]["get"]}}
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS: dict[str, Operation] = {
    operation.label: operation
    for operation in (result.ok() for result in SCHEMA.get_all_operations() if isinstance(result, Ok))
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ACCEPTED = (
    ("GET /api/instances/operations/{operation_id}", "operation_id", "operationId"),
    ("GET /api/instances/{server_id}", "server_id", "serverId"),
)
GAME = {"ctype": "game", "variant": "vanilla", "version": "1.21.7"}
DEV = {"ctype": "dev", "runtime": "python", "version": "3.12"}
CALLERS = ("customer", "customer", "operator", "operator", "operator", "stranger", "nobody")
OWN = "somebody"
BODIES: dict[str, list[dict[str, Any]]] = {
    "POST /api/instances": [
        GAME,
        DEV,
        GAME | {"onFailure": "keep"},
        GAME | {"customerId": OWN},
        DEV | {"customerId": OWN},
    ],
    "POST /api/tokens": [{"name": "one more", "customerId": OWN}, {"name": "one more", "operator": True}],
    "POST /internal/billing": [
        {"id": state, "customerId": OWN, "billingState": state, "occurredAt": "2026-01-02T03:04:05Z"}
        for state in ("active", "past_due", "suspended")
    ],
    "POST /internal/velocity/proxy-status": [{"server_name": "host-5000", "event": "proxy_ping_ok"}],
}
SECRETS = {"velocity_secret": "of the bridge", "billing_secret": "of the billing system"}


@dataclass(frozen=True)
class World:
    """A running API, who may ask it, and real ids for its paths, by the names of the parameters."""

    url: str
    session: Session
    callers: dict[str, Caller]
    ids: dict[str, list[str]]


@pytest.fixture(scope="module")
def world(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An API without rate limits on a database with an instance and an operation of each sort."""
    secrets = tmp_path_factory.mktemp("secrets") / "secrets.json"
    secrets.write_text(json.dumps(SECRETS))
    secrets.chmod(0o600)
    unlimited = dict.fromkeys(("rate_per_second", "change_rate_per_second", "failed_auth_per_second"), "0")
    settings = unlimited | {"secrets_file": str(secrets)}
    with fresh_database(server_url, "schema", template=template) as url, running_api(url, **settings) as api:
        yield populate(api)


def populate(api: Api) -> World:
    """Customers, tokens, and whatever an id in a path can name."""
    api.query("insert into worker (id, seen_at) values ('w', now() + interval '1 day')")
    own, other, operator = api.customer(max_instances=100), api.customer(), api.caller(None)
    ends = ("queued", "running", "cleaning", "ready", "failed", "kept", "deleted", "ready", "ready", "queued")
    on_failure = {"kept": {"onFailure": "keep"}}
    placed = [
        advance(api, own, own.order(GAME | on_failure.get(end, {}), Idempotency_Key=f"{number}"), end)
        for number, end in enumerate(ends)
    ]
    placed.append(other.order(DEV))
    spare = [
        accounts.issue_token(api.database, name="spare", customer_id=own.customer_id, expires_at=None)[0].id
        for _ in range(3)
    ]
    assert own.customer_id is not None
    running = api.query("select id, fencing_token from operation where status = 'running'")
    lease = Lease(operation_id=running[0][0], fencing_token=running[0][1])
    ids = {
        "server_id": [*(each["serverId"] for each in placed), "5000", "5999"],
        "operation_id": [each["operationId"] for each in placed],
        "customer_id": [OWN, "new"],
        "token_id": [str(each) for each in spare],
        "token": [callbacks.create_callback(api.database, lease) for _ in range(3)],
    }
    accounts.ensure_customer(api.database, OWN)
    session = Session()
    session.trust_env = False
    stranger = api.stranger("hw_unknown")
    callers = {"customer": own, "operator": operator, "stranger": stranger, "nobody": api.stranger()}
    return World(api.url, session, callers, ids)


def advance(api: Api, caller: Caller, accepted: dict[str, Any], end: str) -> dict[str, Any]:
    """Takes an order so far."""
    if end == "queued":
        return accepted
    if end in ("ready", "deleted"):
        api.complete(accepted)
    else:
        row = api.claim(accepted["operationId"])
        api.name(row)
        lease = lease_of(row)
        leases.record(api.database, lease, [PhaseEntered(Phase.CLONE_CONTAINER, "cloning")])
        if end != "running":
            endings.begin_cleaning(api.database, lease, FAILURE)
        if end in ("failed", "kept"):
            endings.finish_undone(api.database, row.instance_id, lease, undone(LEAKED, kept=end == "kept"))
    if end == "deleted":
        api.complete_teardown(caller.delete(f"/api/instances/{accepted['serverId']}").json())
    return accepted


# what is asked, and of what is answered


@st.composite
def asked(draw: st.DrawFn, operation: Operation, ids: dict[str, list[str]]) -> Asked:
    """A request as the document has it or not quite, often about something that is there."""
    modes = list(GenerationMode) if may_be_wrong(operation) else [GenerationMode.POSITIVE]
    case: Asked = draw(operation.as_strategy(generation_mode=draw(st.sampled_from(modes))))
    for name in case.path_parameters or {}:
        if name in ids and draw(st.integers(0, 3)) > 0:
            case.path_parameters[name] = draw(st.sampled_from(ids[name]))
    if operation.label in BODIES and draw(st.booleans()):
        case.body = draw(st.sampled_from(BODIES[operation.label]))
    return case


def may_be_wrong(operation: Operation) -> bool:
    """Whether there is anything in a request to get wrong."""
    raw = DOCUMENT["paths"][operation.path][operation.method]
    return bool(raw["parameters"]) or "requestBody" in raw or "security" not in raw


@pytest.mark.timeout(3600)  # making a failure small takes minutes, and the long profile has many more examples
@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_answers_as_the_document_says(world: World, label: str) -> None:
    operation = OPERATIONS[label]

    @settings(max_examples=settings().max_examples * 3 // 10)
    @given(case=asked(operation, world.ids), caller=st.sampled_from(CALLERS), signed=st.booleans())
    def ask(case: Asked, caller: str, signed: bool) -> None:
        answer = send(world, case, world.callers[caller], signed=signed)
        case.validate_response(answer, checks=CHECKS)
        check_problem(answer)
        is_right = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
        assert not (is_right and case.method == "GET" and answer.status_code == 400), "the document asked for this"
        if answer.status_code in (201, 202):
            follow(world, answer, world.callers[caller])

    ask()


def send(world: World, case: Asked, caller: Caller, *, signed: bool) -> Response:
    """The answer to a request, by a caller or signed as other systems do."""
    headers = {"Authorization": f"Bearer {caller.token}"} if caller.token else {}
    body = json.dumps(case.body).encode() if isinstance(case.body, dict) else b""
    if signed and case.path == "/internal/billing":
        headers["X-Hostwright-Signature"] = sign(SECRETS["billing_secret"], int(time.time()), body)
        return case.call(base_url=world.url, session=world.session, headers=headers, data=body)
    if signed and case.path == "/internal/velocity/proxy-status":
        headers["X-Zpack-Secret"] = hashlib.sha256(SECRETS["velocity_secret"].encode()).hexdigest()
    return case.call(base_url=world.url, session=world.session, headers=headers)


def follow(world: World, answer: Response, caller: Caller) -> None:
    """What an answer points at is there, and is as the document says."""
    accepted = answer.json()
    for label, parameter, name in ACCEPTED:
        if name in accepted:
            case = OPERATIONS[label].Case(path_parameters={parameter: accepted[name]})
            shown = send(world, case, caller, signed=False)
            assert shown.status_code == 200
            case.validate_response(shown, checks=CHECKS)


def check_problem(answer: Response) -> None:
    """A refusal is an RFC 9457 object with a code of ours."""
    if answer.status_code >= 400:
        problem = answer.json()
        code = ProblemCode(problem["code"])
        assert problem["status"] == answer.status_code == PROBLEM_STATUS[code]
        assert problem["type"] == f"urn:hostwright:problem:{code}"


def test_asks_all_that_the_document_has() -> None:
    methods = [(path, method) for path, each in DOCUMENT["paths"].items() for method in each]
    assert len(OPERATIONS) == len(methods) > 20
