"""Watching operations."""

import asyncio
from uuid import UUID

from starlette.responses import Response

from orchestrator.api.http.answers import accepted
from orchestrator.api.http.call import Call, accepted_answer, answer
from orchestrator.api.http.problems import not_found
from orchestrator.api.instances.orders import parse_customer, parse_wait
from orchestrator.api.operations.answers import (
    EventPage,
    OperationPage,
    entity_tag,
    event_answer,
    listed_operation,
    operation_answer,
)
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.domain.models import OperationRow
from orchestrator.domain.operations import KINDS
from orchestrator.domain.states import OPERATION_FINAL, OperationStatus
from orchestrator.store import reads, requests

_PAGE = 50
_MAX_PAGE = 200
_EVENTS = 500
_MAX_SEQ = 2**62


async def show(call: Call) -> Response:
    """One operation; with `Prefer: wait=N`, answer at its next change or after N seconds."""
    wait = parse_wait(call.headers.get("prefer"))
    if wait is None:
        return _show(await call.in_thread(_get, call), call, {})
    operation_id = call.uuid("operation_id")
    async with call.parts.changes.of(operation_id) as changed:
        row = await call.in_thread(_get, call)
        known = call.headers.get("if-none-match")
        if row.status not in OPERATION_FINAL and known in (None, entity_tag(row)):
            try:
                await asyncio.wait_for(changed.wait(), wait)
            except TimeoutError:
                pass
            else:
                row = await call.in_thread(_get, call)
    return _show(row, call, {"Preference-Applied": f"wait={wait}"})


def _get(call: Call) -> OperationRow:
    owner = call.principal.customer_id
    row = reads.get_operation(call.parts.database, call.uuid("operation_id"), owner)
    if row is None:
        raise not_found()
    return row


def _show(row: OperationRow, call: Call, headers: dict[str, str]) -> Response:
    tag = entity_tag(row)
    if call.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag} | headers)
    return answer(operation_answer(row), headers={"ETag": tag} | headers)


def list_all(call: Call) -> Response:
    """Operations, newest first."""
    owner = call.principal.customer_id
    asked = parse_customer(call.query.get("customerId"))
    if owner is not None and asked not in (None, owner):
        raise Problem(
            ProblemCode.FORBIDDEN, "customerId is for operators: your token sees its own customer's operations"
        )
    limit = call.number("limit", default=_PAGE, low=1, high=_MAX_PAGE)
    rows = reads.list_operations(
        call.parts.database,
        customer_id=owner if owner is not None else asked,
        status=call.choice("status", OperationStatus),
        kind=call.choice("kind", KINDS),
        after=call.cursor(),
        limit=limit,
    )
    following = rows[-1].id if len(rows) == limit else None
    return answer(OperationPage(operations=[listed_operation(row) for row in rows], next=following))


def events(call: Call) -> Response:
    """An operation's log, in order and without gaps."""
    row = _get(call)
    after = call.number("after", default=0, low=0, high=_MAX_SEQ)
    limit = call.number("limit", default=_EVENTS, low=1, high=_EVENTS)
    lines = reads.list_events(call.parts.database, row.id, after=after, limit=limit)
    following = lines[-1].seq if lines else after
    return answer(EventPage(events=[event_answer(line) for line in lines], next=following))


def cancel(call: Call) -> Response:
    """Cancel an operation; what a worker has begun it undoes."""
    operation_id = call.uuid("operation_id")
    if not requests.place_cancel(call.parts.database, operation_id, call.principal.customer_id):
        raise not_found()
    return _as_accepted(call, operation_id)


def retry(call: Call) -> Response:
    """Take a failed order up again at its failed phase."""
    retried = requests.place_retry(call.parts.database, call.uuid("operation_id"), call.principal.customer_id)
    if retried is None:
        raise not_found()
    return _as_accepted(call, retried)


def _as_accepted(call: Call, operation_id: UUID) -> Response:
    row = reads.get_operation(call.parts.database, operation_id, None)
    if row is None:
        raise not_found()
    return accepted_answer(accepted(row), {})
