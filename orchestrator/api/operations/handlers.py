"""Handlers of operations: list, show, wait, read the log, cancel, retry."""

from functools import partial
from uuid import UUID

from starlette.responses import Response

from orchestrator.api.http.answers import answer
from orchestrator.api.http.call import Call
from orchestrator.api.http.pages import Pages
from orchestrator.api.http.parameters import (
    AFTER,
    AFTER_ID,
    CUSTOMER,
    IF_NONE_MATCH,
    LAST_EVENT_ID,
    LIMIT_OF_PAGE,
    MAX_SEQ,
    WAIT,
    choice,
    number,
    path_id,
)
from orchestrator.api.http.problems import not_found
from orchestrator.api.http.streams import EventStream, Reader
from orchestrator.api.operations.answers import (
    EventAnswer,
    EventPage,
    OperationPage,
    accepted,
    accepted_answer,
    entity_tag,
    listed_operation,
    operation_answer,
)
from orchestrator.api.operations.feed import confirm, follow
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.domain.models import OperationRow
from orchestrator.domain.operations import KINDS
from orchestrator.domain.states import OPERATION_FINAL, OperationStatus
from orchestrator.store import reads, requests

OPERATION = path_id("operation_id", "The operation's id.")
STATUS = choice("status", OperationStatus, "Only operations in this state.")
KIND = choice("kind", KINDS, "Only operations of this kind.")
PAGES = Pages(AFTER_ID)
EVENT_PAGES = Pages(number("after", 0, MAX_SEQ, AFTER, default=0), number("limit", 1, 500, LIMIT_OF_PAGE, default=500))


async def show(call: Call) -> Response:
    """Show an operation. With `Prefer: wait=N`, answer at its next change, or after N seconds."""
    wait = call.read(WAIT)
    if wait is None:
        return _show(await call.in_thread(_get, call), call, {})
    operation_id = call.read(OPERATION)
    with call.parts.changes.of(operation_id, call.principal.token_id) as changed:
        row = await call.in_thread(_get, call)
        known = call.read(IF_NONE_MATCH)
        unchanged = row.status not in OPERATION_FINAL and known in (None, entity_tag(row))
        if unchanged and await call.wait(changed, wait):
            row = await call.in_thread(_get, call)
    return _show(row, call, {"Preference-Applied": f"wait={wait}"})


def _get(call: Call) -> OperationRow:
    owner = call.principal.customer_id
    row = reads.get_operation(call.parts.database, call.read(OPERATION), owner)
    if row is None:
        raise not_found()
    return row


def _told(call: Call, row: OperationRow) -> OperationRow:
    """The operation as the caller may see it."""
    return row if call.principal.is_operator else row.for_customer()


def _show(row: OperationRow, call: Call, headers: dict[str, str]) -> Response:
    tag = entity_tag(row)
    if call.read(IF_NONE_MATCH) == tag:
        return Response(status_code=304, headers={"ETag": tag} | headers)
    return answer(operation_answer(_told(call, row), call.prefix), headers={"ETag": tag} | headers)


def list_all(call: Call) -> Response:
    """List operations, newest first."""
    owner = call.principal.customer_id
    asked = call.read(CUSTOMER)
    if owner is not None and asked not in (None, owner):
        raise Problem(
            ProblemCode.FORBIDDEN, "customerId is for operators: your token sees its own customer's operations"
        )
    fetch = partial(
        reads.list_operations,
        call.parts.database,
        customer_id=owner if owner is not None else asked,
        status=call.read(STATUS),
        kind=call.read(KIND),
    )
    rows, following = PAGES.read(call, fetch, lambda row: row.id)
    shown = [listed_operation(_told(call, row), call.prefix) for row in rows]
    return answer(OperationPage(operations=shown, next=following))


def events(call: Call) -> Response:
    """Read an operation's log, in order and without gaps."""
    read = partial(reads.list_events, call.parts.database, call.read(OPERATION))
    lines, _ = EVENT_PAGES.read(call, read, lambda line: line.seq)
    # Read after the lines, which its error explains: it may have failed since. Somebody else's ends here.
    row = _get(call)
    # A log may grow, so its last page leads on too.
    following = lines[-1].seq if lines else call.read(EVENT_PAGES.after)
    if not call.principal.is_operator:
        lines = [line.for_customer(row.error) for line in lines]
    return answer(EventPage(events=[EventAnswer.of(line) for line in lines], next=following))


async def stream(call: Call) -> Response:
    """Follow an operation as server-sent events, from its present state to its end.

    An event `operation` has the whole state, and comes first and whenever it changes; `log` has a line of the log and
    its number as id; `end` is the last, and then the stream ends. A client that comes back with the last id as
    `Last-Event-ID`, as browsers do, gets each later line once. A comment comes every 15 seconds. A stream that ends
    without `end` is to be resumed: the process ended, or the client was too slow.
    """
    row = await call.in_thread(_get, call)
    after = call.read(LAST_EVENT_ID)
    call.parts.limiter.admit_stream(call.principal, call.parts.streams.count(call.principal))
    reader = Reader(call.principal, partial(confirm, call))
    # Whoever names a line that there is not yet was told of another operation, or before the database was restored.
    frames = follow(call, reader, row, after if after <= row.last_seq else 0)
    return EventStream(call.parts.streams, reader, frames)


def cancel(call: Call) -> Response:
    """Cancel an operation. A worker undoes what it has made."""
    operation_id = call.read(OPERATION)
    if not requests.place_cancel(call.parts.database, operation_id, call.principal.customer_id):
        raise not_found()
    return _as_accepted(call, operation_id)


def retry(call: Call) -> Response:
    """Take a failed order up again, at the phase that failed."""
    retried = requests.place_retry(call.parts.database, call.read(OPERATION), call.principal.customer_id)
    if retried is None:
        raise not_found()
    return _as_accepted(call, retried)


def _as_accepted(call: Call, operation_id: UUID) -> Response:
    row = reads.get_operation(call.parts.database, operation_id, None)
    if row is None:
        raise not_found()
    return accepted_answer(accepted(row, call.prefix))
