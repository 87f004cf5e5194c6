"""Answers about operations and their logs, and how they are made of rows."""

import hashlib
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from starlette.responses import Response

from orchestrator.api.http.answers import Answer, answer, camel
from orchestrator.api.http.response_headers import ASK_AGAIN, LOCATION
from orchestrator.domain.errors import ASKED_FOR_TIME, Code
from orchestrator.domain.models import (
    Cleanup,
    Failure,
    OperationRow,
    OperationStatusRead,
    PhaseRead,
    PhaseRow,
    PhaseStatusRead,
)
from orchestrator.domain.operations import KINDS
from orchestrator.domain.states import OPERATION_FINAL, OperationStatus, PhaseStatus

OPERATIONS_PATH = "/api/instances/operations"
_ORDERED = ("game", "variant", "runtime", "version")
"""What an order may say that its operations show."""


class PhaseAnswer(Answer):
    """One phase of an operation. Its times are null until it begins and ends."""

    name: PhaseRead
    """The phase."""
    status: PhaseStatusRead | Literal["cancelled"]
    """How far it has come. A phase that is not reached any more is `skipped`."""
    started_at: datetime | None = None
    """When it began."""
    finished_at: datetime | None = None
    """When it ended."""
    duration_ms: int | None = None
    """The milliseconds that it took."""
    retries: int = 0
    """How often something in it was tried again."""


class OperationAnswer(Answer):
    """An operation as it stands."""

    operation_id: UUID
    """The id of the operation."""
    request_id: UUID
    """The id of the request that made it."""
    kind: str
    """What is done: `provision`, `teardown`, `start`, `stop`, `cleanup` or `unpublish`."""
    status: OperationStatusRead
    """How far it has come. `succeeded`, `failed` and `cancelled` are final."""
    phase: PhaseRead | None
    """The phase that it is in, or was last in."""
    attempt: int
    """How often a worker has taken it."""
    server_id: UUID
    """The id of its instance."""
    customer_id: str
    """Whose it is."""
    vmid: int | None
    """The VMID of its instance; null until one is chosen."""
    hostname: str | None
    """The short host name of its instance; null until one is chosen."""
    ctype: str
    """The container type: `game` or `dev`."""
    game: str | None
    """The game that was ordered."""
    variant: str | None
    """The variant of the game that was ordered."""
    runtime: str | None
    """The runtime that was ordered."""
    version: str | None
    """The version of the game or runtime that was ordered."""
    phases: list[PhaseAnswer] | None
    """Its phases in order, then those of a cleanup. Null in lists."""
    heartbeat_at: datetime | None
    """When its worker last reported, which it does about once a second."""
    queue_position: int | None
    """Its place in the queue: 1 is next, and 1000 is the largest number. Null when it does not wait, and in lists."""
    next_try_at: datetime | None
    """Until when an operation in the queue is put off."""
    queue_reason: str | None
    """Why an operation in the queue waits, in a few words."""
    created_at: datetime
    """When it was accepted."""
    started_at: datetime | None
    """When a worker first took it."""
    finished_at: datetime | None
    """When it ended."""
    deadline_at: datetime | None
    """When it fails unless it has ended by then."""
    error: Failure | None
    """Why it failed."""
    cleanup: Cleanup | None
    """How far what it made has been removed."""
    retry_of: UUID | None
    """The operation that this one takes up again."""
    request: dict[str, Any]
    """The order as it was understood, with `***` for the values of `env`."""
    links: dict[str, str]
    """Paths by name: `self`, `events`, `stream`, `instance`, and `cancel` or `retry` while they are possible."""


class OperationPage(Answer):
    """Operations, newest first, without phases and queue position; `next` is the `after` of the next page."""

    operations: list[OperationAnswer]
    """The operations of the page."""
    next: UUID | None
    """The `after` of the next page; null on the last."""


class EventAnswer(Answer):
    """One line of an operation's log."""

    seq: int
    """The number of the line, which only grows."""
    at: datetime
    """When it was written."""
    phase: str | None
    """The phase that it is about."""
    level: str
    """`info`, `warning` or `error`."""
    message: str
    """What happened."""


class EventPage(Answer):
    """An operation's log in order; `next` is the `after` of the next page."""

    events: list[EventAnswer]
    """The lines of the page."""
    next: int
    """The `after` of the next page. It stays the same while there is nothing new."""


class EndAnswer(Answer):
    """The last event of an operation's stream: nothing follows."""

    status: OperationStatusRead
    """How the operation ended."""


class Accepted(Answer):
    """An order or a teardown was accepted."""

    operation_id: UUID
    """The id of the operation."""
    request_id: UUID
    """The id of the request that made it."""
    server_id: UUID
    """The id of its instance."""
    status: OperationStatusRead
    """How far the operation has come."""
    phase: PhaseRead | None
    """The phase that it is in; null while it waits."""
    status_url: str
    """The path at which to watch it."""


def operation_path(operation_id: UUID, prefix: str) -> str:
    """Where an operation is found. `prefix` is that of the client's path (Call.prefix)."""
    return f"{prefix}{OPERATIONS_PATH}/{operation_id}"


def accepted(row: OperationRow, prefix: str) -> Accepted:
    """Turn an operation's row into the answer to the request that made it."""
    where = operation_path(row.id, prefix)
    return Accepted.of(row, operation_id=row.id, server_id=row.instance_id, status_url=where)


ACCEPTED_HEADERS = (LOCATION, ASK_AGAIN)
"""The headers of `accepted_answer`."""


def accepted_answer(body: Accepted, headers: dict[str, str] | None = None) -> Response:
    """The 202 response to an accepted request."""
    return answer(body, 202, {"Location": body.status_url, "Retry-After": "1"} | (headers or {}))


def operation_answer(row: OperationRow, prefix: str) -> OperationAnswer:
    """Turn an operation's row into its answer."""
    return OperationAnswer.of(
        row,
        operation_id=row.id,
        server_id=row.instance_id,
        **{name: row.spec.get(name) for name in _ORDERED},
        next_try_at=row.due_at if row.status is OperationStatus.QUEUED else None,
        queue_reason=_say_why_queued(row),
        phases=_list_phases(row),
        request=_hide_secrets(row.spec),
        links=_list_links(row, prefix),
    )


def listed_operation(row: OperationRow, prefix: str) -> OperationAnswer:
    """Turn a row of a list into its answer. Lists do not read phases, so they are null and not empty."""
    return operation_answer(row, prefix).model_copy(update={"phases": None})


def entity_tag(row: OperationRow) -> str:
    """A weak entity tag that changes with everything but a heartbeat."""
    retries = sum(phase.retries for phase in row.phases or ())
    queue = f"{row.queue_position}/{_say_why_queued(row)}"
    state = f"{row.id}/{row.status}/{row.attempt}/{row.last_seq}/{row.hostname}/{retries}/{queue}"
    return f'W/"{hashlib.blake2b(state.encode(), digest_size=9).hexdigest()}"'


def _list_phases(row: OperationRow) -> list[PhaseAnswer]:
    begun = {phase.name: phase for phase in row.phases or ()}
    planned = KINDS[row.kind].phases if row.kind in KINDS else ()
    own = [_mark_cancelled(_show_phase(name, begun.get(name), row), row) for name in planned]
    cleaning = [_show_phase(name, phase, row) for name, phase in begun.items() if name not in planned]
    return own + sorted(cleaning, key=lambda phase: str(phase.started_at))


def _show_phase(name: PhaseRead, begun: PhaseRow | None, row: OperationRow) -> PhaseAnswer:
    if begun is None:
        over = row.status in OPERATION_FINAL or row.status is OperationStatus.CLEANING
        return PhaseAnswer(name=name, status=PhaseStatus.SKIPPED if over else PhaseStatus.PENDING)
    duration = begun.finished_at and int((begun.finished_at - begun.started_at).total_seconds() * 1000)
    return PhaseAnswer.of(begun, duration_ms=duration)


def _say_why_queued(row: OperationRow) -> str | None:
    if row.queue_position is None:
        if row.due_at is None or row.status is not OperationStatus.QUEUED:
            return None
        return f"it was put off until {row.due_at:%Y-%m-%d %H:%M:%S} UTC: {ASKED_FOR_TIME}"
    if not row.worker_alive:
        return "no worker is running"
    if row.queue_position > 1:
        return "others are before it"
    return "it begins when a worker has room"


def _mark_cancelled(phase: PhaseAnswer, row: OperationRow) -> PhaseAnswer:
    """Return a phase that a cancel has ended as cancelled. Its row only knows that it did not end well."""
    # The phase ends a moment before the reason is written.
    by_cancel = row.error.code is Code.CANCELLED if row.error is not None else row.cancel_requested_at is not None
    ended = by_cancel and phase.status is PhaseStatus.FAILED
    return phase.model_copy(update={"status": "cancelled"}) if ended else phase


def _list_links(row: OperationRow, prefix: str) -> dict[str, str]:
    path = operation_path(row.id, prefix)
    links = {"self": path, "events": f"{path}/events", "stream": f"{path}/stream"}
    links["instance"] = f"{prefix}/api/instances/{row.instance_id}"
    kind = KINDS.get(row.kind)
    if kind is not None and kind.cancellable and row.status not in OPERATION_FINAL:
        links["cancel"] = f"{path}/cancel"
    if row.status is OperationStatus.FAILED and row.cleanup is not None and row.cleanup.keeps_machine:
        links["retry"] = f"{path}/retry"
    return links


def _hide_secrets(spec: dict[str, Any]) -> dict[str, Any]:
    """The order as it was understood. The values of `env` are hidden, because they may be secrets."""
    shown = {camel(key): value for key, value in spec.items() if value is not None}
    if "env" in shown:
        shown["env"] = dict.fromkeys(shown["env"], "***")
    return shown
