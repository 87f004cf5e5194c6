"""The line that each request to change something leaves in the audit log."""

import logging
import re
from typing import Any
from uuid import UUID

from orchestrator.api.http.call import Call
from orchestrator.api.http.parameters import CUSTOMER_ID
from orchestrator.domain.errors import ProblemCode, StoreUnavailable
from orchestrator.domain.models import AuditEntry
from orchestrator.store import audit

log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9]{1,9}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def write_line(call: Call, status: int, code: ProblemCode | None, location: str | None) -> None:
    """Append the line of an answered request; the answer stands even when the database is away by now."""
    line = audit_line(call, status=status, code=code, operation_id=_operation(location))
    if code is not ProblemCode.UNAVAILABLE:  # then it would only keep this request waiting for the database again
        try:
            audit.record(call.parts.database, line)
        except StoreUnavailable as error:
            call.parts.database.outage.noticed(error)
        except Exception:
            log.exception("the audit log refuses a line")
        else:
            return
    log.warning("not in the audit log: %s", line.model_dump_json())


def audit_line(
    call: Call, *, status: int, code: ProblemCode | None = None, operation_id: UUID | None = None
) -> AuditEntry:
    """The line of a request. Nothing of it but ids is what the client wrote."""
    caller = call.caller
    return AuditEntry(
        principal=call.actor or (caller.name if caller else "-"),
        token_id=caller.token_id if caller else None,
        customer_id=caller.customer_id if caller else None,
        address=call.address,
        method=call.method,
        route=call.route,
        target=call.target or next(filter(None, map(_known_id, call.path.items())), "-"),
        status=status,
        code=code,
        operation_id=operation_id,
    )


def _known_id(parameter: tuple[str, Any]) -> str | None:
    """A path's parameter if it has the form of an id: a token in the place of one must not be kept."""
    name, text = parameter[0], str(parameter[1])
    form = CUSTOMER_ID if name == "customer_id" else _ID
    return text if form.fullmatch(text) else None


def _operation(location: str | None) -> UUID | None:
    """The operation that an answer points at, if it does."""
    try:
        return UUID((location or "").rpartition("/")[2])
    except ValueError:
        return None
