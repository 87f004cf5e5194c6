"""The audit log, as operators read it."""

from functools import partial

from starlette.responses import Response

from orchestrator.api.http.answers import Answer, answer
from orchestrator.api.http.call import Call
from orchestrator.api.http.endpoint import OPERATOR_PROBLEMS, Endpoint
from orchestrator.api.http.pages import Pages
from orchestrator.api.http.parameters import AFTER, CUSTOMER, LIMIT_OF_PAGE, MAX_SEQ, number
from orchestrator.domain.models import AuditRow
from orchestrator.store import audit

PAGES = Pages(number("after", 1, MAX_SEQ, AFTER, default=MAX_SEQ), number("limit", 1, 500, LIMIT_OF_PAGE, default=50))


class AuditAnswer(Answer, AuditRow):
    """A request to change something, and what came of it."""


class AuditPage(Answer):
    """Lines, newest first; `next` is the `after` of the next page."""

    entries: list[AuditAnswer]
    """The lines of the page."""
    next: int | None
    """The `after` of the next page; null on the last."""


def list_all(call: Call) -> Response:
    """List the lines, newest first."""
    fetch = partial(audit.list_entries, call.parts.database, customer_id=call.read(CUSTOMER))
    rows, following = PAGES.read(call, fetch, lambda row: row.seq)
    return answer(AuditPage(entries=[AuditAnswer.of(row) for row in rows], next=following))


ENDPOINTS = (
    Endpoint(
        "GET", "/audit", "listAuditEntries", list_all, "Read the audit log, newest first", operator=True,
        result=AuditPage, parameters=(*PAGES.parameters, CUSTOMER), problems=OPERATOR_PROBLEMS,
    ),
)  # fmt: skip
