"""Ordering, listing and deleting instances."""

import asyncio
from enum import StrEnum
from uuid import UUID

from starlette.responses import Response

from orchestrator.api.http.answers import OPERATIONS_PATH, Accepted, accepted
from orchestrator.api.http.call import Call, accepted_answer, answer
from orchestrator.api.http.problems import not_found
from orchestrator.api.instances.answers import InstancePage, LegacyPage, instance_answer, legacy_server
from orchestrator.api.instances.orders import parse_key, parse_order, parse_wait
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.domain.models import OperationRow
from orchestrator.domain.operations import START, STOP, TEARDOWN
from orchestrator.domain.states import OPERATION_FINAL, OperationStatus
from orchestrator.store import orders, reads, requests


class Truth(StrEnum):
    """A truth value in a query."""

    TRUE = "true"
    FALSE = "false"


_PAGE = 50
_MAX_PAGE = 200


async def create(call: Call) -> Response:
    """Order an instance; with `Prefer: wait=N`, answer when it is finished or after N seconds."""
    wait = parse_wait(call.headers.get("prefer"))
    placed = await call.in_thread(_place, call)
    headers = {"Idempotency-Replayed": "true"} if placed.kind == "replay" else {}
    if wait is None:
        return accepted_answer(_fresh(placed), headers)
    operation = await _wait_until_final(call, placed.operation_id, wait)
    return accepted_answer(accepted(operation), headers | {"Preference-Applied": f"wait={wait}"})


def _place(call: Call) -> orders.Placed:
    principal = call.principal
    order = parse_order(call.body, parse_key(call.headers.get("idempotency-key")), principal, call.parts.catalogue)
    placed = orders.place_order(call.parts.database, order, call.entry(status=202))
    if placed.kind == "accept":
        call.trace.audited = True
        call.parts.waker.wake()
    return placed


def _fresh(placed: orders.Placed) -> Accepted:
    """The answer to an order is the same however often it is asked: what was true when it was accepted."""
    return Accepted(
        operation_id=placed.operation_id,
        request_id=placed.request_id,
        server_id=placed.instance_id,
        status=OperationStatus.QUEUED,
        phase=None,
        status_url=f"{OPERATIONS_PATH}/{placed.operation_id}",
    )


async def _wait_until_final(call: Call, operation_id: UUID, seconds: int) -> OperationRow:
    deadline = asyncio.get_running_loop().time() + seconds
    async with call.parts.changes.of(operation_id) as changed:
        while True:
            operation = await call.in_thread(reads.get_operation, call.parts.database, operation_id, None)
            left = deadline - asyncio.get_running_loop().time()
            if operation is None:
                raise not_found()
            if operation.status in OPERATION_FINAL or left <= 0 or call.parts.changes.over:
                return operation
            try:
                await asyncio.wait_for(changed.wait(), left)
            except TimeoutError:
                continue
            changed.clear()


def list_all(call: Call) -> Response:
    """The caller's instances, or everybody's for an operator; the predecessor's list has no pages."""
    owner = call.principal.customer_id
    if call.legacy:
        rows = reads.list_instances(call.parts.database, customer_id=owner, limit=None)
        return answer(LegacyPage(servers=[legacy_server(row) for row in rows]))
    limit = call.number("limit", default=_PAGE, low=1, high=_MAX_PAGE)
    leaked = call.choice("leaked", Truth) == Truth.TRUE
    rows = reads.list_instances(call.parts.database, customer_id=owner, leaked=leaked, after=call.cursor(), limit=limit)
    following = rows[-1].id if len(rows) == limit else None
    return answer(InstancePage(instances=[instance_answer(row, call.parts.catalogue) for row in rows], next=following))


def show(call: Call) -> Response:
    """One instance."""
    found = call.server()
    row = reads.get_instance(call.parts.database, **found)
    if row is None:
        raise _gone_or_unknown(call, found["server_id"])
    return answer(instance_answer(row, call.parts.catalogue))


def delete(call: Call) -> Response:
    """Tear an instance down; asking again gives the same operation."""
    found = call.server()
    return _placed(call, found["server_id"], requests.place(call.parts.database, TEARDOWN, **found))


def start(call: Call) -> Response:
    """Start an instance and publish it again; asking again gives the same operation."""
    found = call.server()
    return _placed(call, found["server_id"], requests.place(call.parts.database, START, **found))


def stop(call: Call) -> Response:
    """Take an instance off the edge and stop it; asking again gives the same operation."""
    found = call.server()
    return _placed(call, found["server_id"], requests.place(call.parts.database, STOP, **found))


def _placed(call: Call, server_id: UUID | None, placed: tuple[UUID, UUID] | None) -> Response:
    if placed is None:
        raise _gone_or_unknown(call, server_id)
    call.parts.waker.wake()
    operation = reads.get_operation(call.parts.database, placed[0], None)
    if operation is None:
        raise not_found()
    return accepted_answer(accepted(operation), {})


def _gone_or_unknown(call: Call, server_id: UUID | None) -> Problem:
    when = server_id and reads.deleted_at(call.parts.database, server_id, call.principal.customer_id)
    if not when:
        return not_found()
    return Problem(
        ProblemCode.DELETED, "the server was deleted", {"deletedAt": when.isoformat().replace("+00:00", "Z")}
    )
