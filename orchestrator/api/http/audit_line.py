"""The line in the audit log that every request to change something gets."""

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
    """Write the line of an answered request. When the database is away, the line goes to the log instead."""
    line = audit_line(call, status=status, code=code, operation_id=_find_operation(location))
    if code is not ProblemCode.UNAVAILABLE:  # otherwise the request would wait for the database once more
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
    """Make the line of a request. Of what the client wrote it holds only ids."""
    caller = call.caller
    return AuditEntry(
        principal=call.actor or (caller.name if caller else "-"),
        token_id=caller.token_id if caller else None,
        customer_id=caller.customer_id if caller else None,
        address=call.address,
        method=call.method,
        route=call.route,
        target=call.target or next(filter(None, map(_recognise_id, call.path.items())), "-"),
        status=status,
        code=code,
        operation_id=operation_id,
    )


def _recognise_id(parameter: tuple[str, Any]) -> str | None:
    """A part of the path, if it has the form of an id. Anything else may be a secret, and is not kept."""
    name, text = parameter[0], str(parameter[1])
    form = CUSTOMER_ID if name == "customer_id" else _ID
    return text if form.fullmatch(text) else None


def _find_operation(location: str | None) -> UUID | None:
    """The operation that the Location of an answer names, or None."""
    try:
        return UUID((location or "").rpartition("/")[2])
    except ValueError:
        return None
