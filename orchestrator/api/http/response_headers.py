"""The headers of answers, as the OpenAPI document describes them. The row of an endpoint names its own."""

from dataclasses import dataclass, field
from typing import Any

from orchestrator.api.http.headers import SECURITY_HEADERS
from orchestrator.domain.errors import ProblemCode


@dataclass(frozen=True)
class ResponseHeader:
    """A header of an answer, with an example. `always` says that every answer of its kind has it."""

    name: str
    description: str
    example: str
    always: bool = True
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})


_SECONDS: dict[str, Any] = {"type": "integer", "minimum": 1}
EXAMPLE_OPERATION = "c4d17f1f-f07f-47f5-8c1e-3abf3c4df945"

LOCATION = ResponseHeader(
    "Location", "The path of the operation, the same as `statusUrl`.", f"/api/instances/operations/{EXAMPLE_OPERATION}"
)
ASK_AGAIN = ResponseHeader("Retry-After", "The seconds after which to ask for the operation.", "1", schema=_SECONDS)
REPLAYED = ResponseHeader(
    "Idempotency-Replayed", "`true` when an order with this key was accepted before; this is its answer.", "true",
    always=False, schema={"type": "string", "const": "true"},
)  # fmt: skip
PREFERENCE_APPLIED = ResponseHeader(
    "Preference-Applied", "The preference that was followed, when `Prefer` had one (RFC 7240).", "wait=10", always=False
)
ETAG = ResponseHeader(
    "ETag", "A weak entity tag for `If-None-Match`. It changes with everything but a heartbeat.", 'W/"K1pNfjYtu4Qe"'
)
NEXT_LINK = ResponseHeader(
    "Link", 'The page of `/api/instances` that goes on from here, with `rel="next"`, if there may be more (RFC 8288).',
    '</api/instances?after=bef91701-8632-43c8-8040-07b0dd94f9a8>; rel="next"', always=False,
)  # fmt: skip
_RETRY_AFTER = ResponseHeader("Retry-After", "The seconds to wait before the next try.", "2", schema=_SECONDS)
_CLOSE = ResponseHeader(
    "Connection",
    "`close` when the rest of the request is not read, so that the connection ends.",
    "close",
    always=False,
)
PROBLEM_HEADERS: dict[ProblemCode, tuple[ResponseHeader, ...]] = {
    ProblemCode.INVALID_REQUEST: (_CLOSE,),
    ProblemCode.UNAUTHENTICATED: (
        ResponseHeader("WWW-Authenticate", "`Bearer`, or the header by which a webhook's sender is known.", "Bearer"),
    ),
    ProblemCode.METHOD_NOT_ALLOWED: (ResponseHeader("Allow", "The methods that the path has.", "GET, HEAD, POST"),),
    ProblemCode.BODY_TOO_LARGE: (_CLOSE,),
    ProblemCode.RATE_LIMITED: (_RETRY_AFTER,),
    ProblemCode.INTERNAL: (_CLOSE,),
    ProblemCode.UNAVAILABLE: (_RETRY_AFTER,),
}
"""The headers that come with a refusal, and no others do."""
_SECURITY = {
    "x-content-type-options": "Browsers must not guess the media type.",
    "content-security-policy": "Nothing in an answer may be run or framed by a browser.",
    "referrer-policy": "A browser tells nobody the address of an answer.",
    "cross-origin-resource-policy": "No page of another origin may embed an answer.",
    "cache-control": "No cache keeps an answer.",
}
EVERYWHERE: tuple[ResponseHeader, ...] = tuple(
    ResponseHeader(
        "-".join(part.capitalize() for part in name.decode().split("-")), _SECURITY[name.decode()], value.decode()
    )
    for name, value in SECURITY_HEADERS
)
"""The headers of every answer."""
