"""The webhook of the billing system, which sets the state of a customer."""

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, Field
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from orchestrator.api.hooks.secrets import read_secret
from orchestrator.api.hooks.signatures import TOLERANCE_SECONDS, is_signed, may_be_signed
from orchestrator.api.http.bodies import CustomerId, RequestBody, parse_body
from orchestrator.api.http.call import Call
from orchestrator.api.http.parameters import verbatim
from orchestrator.api.http.problems import invalid, not_found
from orchestrator.domain.billing import BillingState
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.store import billing_events

SIGNATURE = verbatim(
    "X-Hostwright-Signature", "header",
    "`t=<Unix time>,v1=<HMAC-SHA256 of time, dot and body in hex>`, by the `billing_secret`. A time that is more than "
    f"{TOLERANCE_SECONDS} s off is refused.",
)  # fmt: skip


def _only_text(value: object) -> object:
    if not isinstance(value, str):
        raise PydanticCustomError("time", "must be a time such as 2026-11-24T12:00:00Z")
    return value


class BillingEvent(RequestBody):
    """A customer's billing state, as the billing system reports it."""

    id: str = Field(pattern=r"^[\x21-\x7e]{1,200}$")
    """The id of the event; an event with a known id changes nothing."""
    customer_id: CustomerId
    """The customer."""
    billing_state: Annotated[BillingState, Field(strict=False)]
    """What the customer may do from then on."""
    occurred_at: Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_only_text)]
    """When that was so. An older event than the last changes nothing."""


def prove(call: Call) -> None:
    """Raises Problem when there is no secret, or the signature cannot be right, whatever the body is."""
    _require_secret(call)
    if not may_be_signed(call.read(SIGNATURE), now=time.time()):
        raise _not_signed()


def take_event(call: Call) -> Response:
    """Check the signature of an event, and set the customer's billing state."""
    if not is_signed(call.read(SIGNATURE), _require_secret(call), call.body, now=time.time()):
        raise _not_signed()
    call.actor = "billing"
    event = parse_body(BillingEvent, call.body)
    call.target = event.customer_id
    if event.occurred_at > datetime.now(UTC) + timedelta(seconds=TOLERANCE_SECONDS):
        invalid([{"pointer": "/occurredAt", "detail": "must not lie in the future"}])
    known = billing_events.apply(
        call.parts.database,
        event_id=event.id,
        customer_id=event.customer_id,
        state=event.billing_state,
        occurred_at=event.occurred_at,
    )
    if not known:
        raise not_found()
    return Response(status_code=204)


def _require_secret(call: Call) -> str:
    secret = read_secret(call, "billing_secret")
    if secret is None:
        raise Problem(
            ProblemCode.UNAVAILABLE,
            "this webhook is not set up: put billing_secret into the secrets file",
            headers={"Retry-After": "60"},
        )
    return secret


def _not_signed() -> Problem:
    return Problem(
        ProblemCode.UNAUTHENTICATED,
        "the X-Hostwright-Signature header is missing, wrong or too old",
        headers={"WWW-Authenticate": SIGNATURE.name},
    )
