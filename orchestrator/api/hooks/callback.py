"""The webhook of instances, which report on themselves with a one-time token."""

from typing import Literal

from pydantic import Field
from starlette.responses import Response

from orchestrator.api.http.bodies import RequestBody, parse_body
from orchestrator.api.http.call import Call
from orchestrator.api.http.parameters import verbatim
from orchestrator.api.http.problems import not_found
from orchestrator.domain.texts import is_hidden
from orchestrator.store import callbacks

TOKEN = verbatim("token", "path", "The one-time token that the agent got with its configuration.")


class CallbackReport(RequestBody):
    """What an instance reports of itself."""

    status: Literal["provisioned", "failed"]
    """Whether the agent has done its work."""
    message: str | None = Field(default=None, max_length=1000)
    """A sentence for the log of the operation."""


def take_report(call: Call) -> Response:
    """Log what an instance reports. The token works once, while the order runs."""
    report = parse_body(CallbackReport, call.body)
    shown = "".join(" " if is_hidden(letter) else letter for letter in report.message or "")
    message = " ".join(shown.split())
    if not callbacks.use_callback(call.parts.database, call.read(TOKEN), report.status, message):
        raise not_found()
    call.actor = "instance"
    return Response(status_code=204)
