"""A customer never learns that another's things exist: the whole route table, walked with a foreign token.

Whatever is added to the table is walked too. Each request is made twice, with ids of another customer's and with ids of
nothing; the answers must be the same byte for byte but for the ids themselves, and nothing may have changed.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from uuid import uuid4

import httpx
import pytest

from orchestrator.api.endpoints import TABLES
from orchestrator.api.http.endpoint import Endpoint
from orchestrator.domain import updates
from orchestrator.store import leases
from tests.support.fix_api import Api, Caller, lease_of, running_api
from tests.support.fix_database import fresh_database
from tests.support.fix_stack import DEV, GAME

NO_LIMITS = {"rate_per_second": "0", "change_rate_per_second": "0", "failed_auth_per_second": "0"}
ROUTES = [(prefix, endpoint) for prefix, table in TABLES for endpoint in table]
OWN = {"audit", "token"}
"""Tables in which a walk leaves traces of its own: its lines, and the last use of its token."""
MOVING = {"date", "etag"}
BODIES = (b"{}", json.dumps(GAME).encode(), b'{"limits": {"instances": 0}}', b'{"name": "x", "operator": true}')


@dataclass(frozen=True)
class Ids:
    """What a path or a query may name."""

    server: str
    vmid: str
    operation: str
    token: str
    customer: str

    def of(self, parameter: str) -> list[str]:
        """The values of a path's parameter."""
        return {
            "server_id": [self.server, self.vmid],
            "operation_id": [self.operation],
            "token_id": [self.token],
            "customer_id": [self.customer],
            "token": [self.operation],
        }[parameter]


NOTHING = Ids(str(uuid4()), "999999", str(uuid4()), str(uuid4()), "c-000000000000")


@pytest.fixture(scope="module")
def walked(server_url: str, template: str) -> Iterator[Api]:
    """An API without limits, because the walk is long."""
    with fresh_database(server_url, "walk", template=template) as url, running_api(url, **NO_LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def caller(walked: Api) -> Caller:
    """Has a server older than the other customer's and a newer one, so that a foreign cursor would cut its lists."""
    return walked.customer(max_instances=2)


@pytest.fixture(scope="module")
def foreign(walked: Api, caller: Caller) -> list[Ids]:
    """Another customer's: a ready server, one being made, one that waits, one being deleted, and a deleted one."""
    walked.complete(caller.order(GAME, Idempotency_Key="before"))
    owner = walked.customer()
    orders = [owner.order(body, Idempotency_Key=uuid4().hex) for body in (GAME, DEV, GAME, DEV, GAME)]
    ready, running, waiting, deleting, deleted = orders
    vmids = {each["serverId"]: str(walked.complete(each)) for each in (ready, deleting, deleted)}
    row = walked.claim(running["operationId"])
    vmids[running["serverId"]] = str(walked.name(row))
    leases.record(walked.database, lease_of(row), [updates.Logged(None, "info", "a line of its log")])
    owner.delete(f"/api/instances/{deleting['serverId']}")
    walked.complete_teardown(owner.delete(f"/api/instances/{deleted['serverId']}").json())
    token = walked.query("select id from token where customer_id = %s", owner.customer_id)[0][0]
    assert owner.get(f"/api/instances/{deleted['serverId']}").json()["code"] == "deleted"
    walked.complete(caller.order(GAME, Idempotency_Key="after"))
    return [
        Ids(each["serverId"], vmids.get(each["serverId"], "999998"), each["operationId"], str(token),
            str(owner.customer_id))
        for each in (ready, running, waiting, deleting, deleted)
    ]  # fmt: skip


def everything(api: Api) -> dict[str, list[str]]:
    tables = [name for (name,) in api.query("select tablename from pg_tables where schemaname = 'public'")]
    return {
        name: sorted(text for (text,) in api.query(f"select t::text from {name} t"))  # noqa: S608
        for name in tables
        if name not in OWN
    }


def paths(prefix: str, endpoint: Endpoint, ids: Ids) -> list[str]:
    """Every spelling of an endpoint's path."""
    names = re.findall(r"{(\w+)}", endpoint.path)
    filled = []
    for values in product(*(ids.of(name) for name in names)):
        path = prefix + endpoint.path
        for name, value in zip(names, values, strict=True):
            path = path.replace(f"{{{name}}}", value)
        filled.append(path)
    return filled


def queries(endpoint: Endpoint, ids: Ids) -> list[dict[str, str]]:
    """No query, and every one that names something."""
    named = {"after": [ids.server, ids.operation, ids.token], "customerId": [ids.customer]}
    return [{}, *({each.name: value} for each in endpoint.parameters for value in named.get(each.name, []))]


def requests(prefix: str, endpoint: Endpoint, ids: Ids) -> Iterator[tuple[str, dict[str, str], bytes | None]]:
    bodies: tuple[bytes | None, ...] = (None,)
    if endpoint.takes_body:
        bodies = (*BODIES, json.dumps(GAME | {"customerId": ids.customer}).encode())
    yield from product(paths(prefix, endpoint, ids), queries(endpoint, ids), bodies)


def ask(caller: Caller, method: str, path: str, query: dict[str, str], body: bytes | None) -> httpx.Response:
    headers = {"Idempotency-Key": "the-walk"} | ({"Content-Type": "application/json"} if body is not None else {})
    return caller.request(method, path, params=query, content=body, headers=headers)


def told(answer: httpx.Response, ids: Ids) -> tuple[int, str, list[tuple[str, str]]]:
    """All that an answer says, without the ids that were asked for."""
    text = answer.text
    for value in (ids.server, ids.operation, ids.token, ids.customer, ids.vmid):
        # Whole, because the digits of a VMID may stand within a time, a limit or another id.
        text = re.sub(rf"\b{re.escape(value)}\b", "…", text)
    return answer.status_code, text, sorted(pair for pair in answer.headers.items() if pair[0] not in MOVING)


@pytest.mark.parametrize(
    ("prefix", "endpoint"), ROUTES, ids=[f"{endpoint.method} {prefix}{endpoint.path}" for prefix, endpoint in ROUTES]
)
def test_tells_nothing_of_another_customer(
    walked: Api, caller: Caller, foreign: list[Ids], prefix: str, endpoint: Endpoint
) -> None:
    before = everything(walked)
    for ids in foreign:
        pairs = zip(requests(prefix, endpoint, ids), requests(prefix, endpoint, NOTHING), strict=True)
        for real, unreal in pairs:
            answer = ask(caller, endpoint.method, *real)
            assert told(answer, ids) == told(ask(caller, endpoint.method, *unreal), NOTHING), real
            assert not answer.is_success or "{" not in endpoint.path, real
            assert ids.server not in answer.text.replace(real[0], ""), real
    assert everything(walked) == before


def test_walks_what_the_owner_would_be_told(walked: Api, foreign: list[Ids]) -> None:
    """The ids are real: with an operator's token they find something."""
    operator = walked.caller(None)
    ready = foreign[0]
    for path in (
        f"/api/instances/{ready.server}", f"/api/instances/{ready.vmid}", f"/api/customers/{ready.customer}",
        f"/api/instances/operations/{ready.operation}", f"/api/instances/operations/{ready.operation}/events",
    ):  # fmt: skip
        assert operator.get(path).status_code == 200, path


def test_keeps_a_foreign_idempotency_key_apart(walked: Api) -> None:
    owner, stranger = walked.customer(), walked.customer()
    first = owner.order(GAME, Idempotency_Key="shared")
    assert stranger.order(DEV, Idempotency_Key="shared")["operationId"] != first["operationId"]
