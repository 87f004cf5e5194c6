"""Handlers of instances: order, list, show, start, stop, delete."""

import asyncio
from functools import partial
from uuid import UUID

from starlette.responses import Response

from orchestrator.api.http.answers import answer
from orchestrator.api.http.audit_line import audit_line
from orchestrator.api.http.call import Call
from orchestrator.api.http.pages import Pages
from orchestrator.api.http.parameters import AFTER_ID, WAIT, choice
from orchestrator.api.http.problems import not_found
from orchestrator.api.instances.answers import InstanceAnswer, InstancePage, LegacyPage, instance_answer, legacy_server
from orchestrator.api.instances.orders import KEY, identify_order, parse_order
from orchestrator.api.operations.answers import Accepted, accepted, accepted_answer, operation_path
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.domain.models import InstanceRow, OperationRow
from orchestrator.domain.operations import START, STOP, TEARDOWN
from orchestrator.domain.states import OPERATION_FINAL, OperationStatus
from orchestrator.store import orders, reads, requests

LEAKED = choice(
    "leaked",
    ("true", "false"),
    "`true`: only those of which something is left behind, or whose deletion or stop fails.",
)
PAGES = Pages(AFTER_ID)
_MOST_LISTED = 1000
"""At most so many instances in the predecessor's list, which has no pages. A header says where the others are."""


async def create(call: Call) -> Response:
    """Order an instance. With `Prefer: wait=N`, answer when the order is finished, or after N seconds."""
    wait = call.read(WAIT)
    placed = await call.in_thread(_place, call)
    headers = {"Idempotency-Replayed": "true"} if placed.kind == "replay" else {}
    if wait is None:
        return accepted_answer(_answer_as_placed(placed, call.prefix), headers)
    operation = await _wait_until_final(call, placed.operation_id, wait)
    return accepted_answer(accepted(operation, call.prefix), headers | {"Preference-Applied": f"wait={wait}"})


def _place(call: Call) -> orders.Placed:
    key = call.read(KEY)
    try:
        order = parse_order(call.body, key, call.principal, call.parts.catalogue)
    except Problem:
        # It may have been right when it came first: the catalogue has changed since.
        known = _find_replay(call, key)
        if known is None:
            raise
        return known
    placed = orders.place_order(call.parts.database, order, audit_line(call, status=202))
    if placed.kind == "accept":
        call.audited = True
        call.parts.waker.wake()
    return placed


def _find_replay(call: Call, key: str | None) -> orders.Placed | None:
    customer_id, body_hash = identify_order(call.body, call.principal)
    if customer_id is None or key is None:
        return None
    return orders.find_replay(call.parts.database, customer_id, key, body_hash)


def _answer_as_placed(placed: orders.Placed, prefix: str) -> Accepted:
    """Answer as the order was accepted, so that every repetition of it gets the same answer."""
    return Accepted(
        operation_id=placed.operation_id,
        request_id=placed.request_id,
        server_id=placed.instance_id,
        status=OperationStatus.QUEUED,
        phase=None,
        status_url=operation_path(placed.operation_id, prefix),
    )


async def _wait_until_final(call: Call, operation_id: UUID, seconds: int) -> OperationRow:
    deadline = asyncio.get_running_loop().time() + seconds
    with call.parts.changes.of(operation_id, call.principal.token_id) as changed:
        while True:
            operation = await call.in_thread(reads.get_operation, call.parts.database, operation_id, None)
            left = deadline - asyncio.get_running_loop().time()
            if operation is None:
                raise not_found()
            if operation.status in OPERATION_FINAL or left <= 0 or call.parts.changes.leaving:
                return operation
            await call.wait(changed, left)
            changed.clear()


def list_all(call: Call) -> Response:
    """List the caller's instances, or everybody's for an operator."""
    owner, leaked = call.principal.customer_id, call.read(LEAKED) == "true"
    fetch = partial(reads.list_instances, call.parts.database, customer_id=owner, leaked=leaked)
    rows, following = PAGES.read(call, fetch, lambda row: row.id)
    return answer(InstancePage(instances=[_describe(call, row) for row in rows], next=following))


def list_legacy(call: Call) -> Response:
    """List the same instances in the predecessor's shape, which has no pages."""
    rows = reads.list_servers(call.parts.database, customer_id=call.principal.customer_id, limit=_MOST_LISTED)
    headers = {}
    if len(rows) == _MOST_LISTED:
        headers["Link"] = f'<{call.prefix}/api/instances?after={rows[-1].id}>; rel="next"'
    return answer(LegacyPage(servers=[legacy_server(row) for row in rows]), headers=headers)


def show(call: Call) -> Response:
    """Show one instance."""
    found = call.server()
    row = reads.get_instance(call.parts.database, **found)
    if row is None:
        raise _gone_or_unknown(call, found["server_id"])
    return answer(_describe(call, row))


def _describe(call: Call, row: InstanceRow) -> InstanceAnswer:
    return instance_answer(row, call.parts.catalogue, call.parts.vouched_seconds, call.prefix)


def delete(call: Call) -> Response:
    """Tear an instance down. Asking again gives the same operation."""
    found = call.server()
    return _placed(call, found["server_id"], requests.place(call.parts.database, TEARDOWN, **found))


def start(call: Call) -> Response:
    """Start an instance and publish it again. Asking again gives the same operation."""
    found = call.server()
    return _placed(call, found["server_id"], requests.place(call.parts.database, START, **found))


def stop(call: Call) -> Response:
    """Take an instance off the edge and stop it. Asking again gives the same operation."""
    found = call.server()
    return _placed(call, found["server_id"], requests.place(call.parts.database, STOP, **found))


def _placed(call: Call, server_id: UUID | None, placed: tuple[UUID, UUID] | None) -> Response:
    if placed is None:
        raise _gone_or_unknown(call, server_id)
    call.parts.waker.wake()
    operation = reads.get_operation(call.parts.database, placed[0], None)
    if operation is None:
        raise not_found()
    return accepted_answer(accepted(operation, call.prefix))


def _gone_or_unknown(call: Call, server_id: UUID | None) -> Problem:
    when = server_id and reads.deleted_at(call.parts.database, server_id, call.principal.customer_id)
    if not when:
        return not_found()
    return Problem(
        ProblemCode.DELETED, "the server was deleted", {"deletedAt": when.isoformat().replace("+00:00", "Z")}
    )
