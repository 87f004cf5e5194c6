"""The audit log as the API writes it, and as operators read it."""

import logging
from uuid import UUID

from starlette.responses import Response

from orchestrator.api.http.answers import Answer
from orchestrator.api.http.call import Call, answer
from orchestrator.api.instances.orders import parse_customer
from orchestrator.domain.errors import ProblemCode, StoreUnavailable
from orchestrator.domain.models import AuditRow
from orchestrator.store import audit

log = logging.getLogger(__name__)

_PAGE = 50
_MAX_PAGE = 500
_MAX_SEQ = 2**62


class AuditAnswer(Answer, AuditRow):
    """One request to change something."""


class AuditPage(Answer):
    """Lines, newest first; `next` is the `after` of the next page."""

    entries: list[AuditAnswer]
    next: int | None


def list_all(call: Call) -> Response:
    """The log."""
    limit = call.number("limit", default=_PAGE, low=1, high=_MAX_PAGE)
    after = call.number("after", default=_MAX_SEQ, low=1, high=_MAX_SEQ)
    customer_id = parse_customer(call.query.get("customerId"))
    rows = audit.list_entries(call.parts.database, customer_id=customer_id, after=after, limit=limit)
    entries = [AuditAnswer.model_validate(row.model_dump()) for row in rows]
    return answer(AuditPage(entries=entries, next=rows[-1].seq if len(rows) == limit else None))


def record(call: Call, status: int, code: ProblemCode | None, location: str | None) -> None:
    """Append the line of an answered request; the answer stands even when the database is away by now."""
    entry = call.entry(status=status, code=code, operation_id=_operation(location))
    if code is not ProblemCode.UNAVAILABLE:  # then it would only keep this request waiting for the database again
        try:
            audit.record(call.parts.database, entry)
        except StoreUnavailable:
            pass
        except Exception:
            log.exception("the audit log refuses a line")
        else:
            return
    log.warning("not in the audit log: %s", entry.model_dump_json())


def _operation(location: str | None) -> UUID | None:
    """The operation that an answer points at, if it does."""
    try:
        return UUID((location or "").rpartition("/")[2])
    except ValueError:
        return None
