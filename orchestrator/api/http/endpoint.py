"""What an endpoint is: one method of one path, its handler, and what the OpenAPI document says of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel
from starlette.responses import Response

from orchestrator.api.http.answers import Answer
from orchestrator.api.http.call import Call
from orchestrator.api.http.parameters import Parameter
from orchestrator.api.http.response_headers import ResponseHeader
from orchestrator.domain.billing import Action
from orchestrator.domain.errors import ProblemCode

Handler = Callable[[Call], Response] | Callable[[Call], Awaitable[Response]]

BODY_PROBLEMS = (ProblemCode.INVALID_REQUEST, ProblemCode.BODY_TOO_LARGE, ProblemCode.UNSUPPORTED_MEDIA_TYPE)
BILLING_PROBLEMS = (ProblemCode.PAYMENT_REQUIRED, ProblemCode.CUSTOMER_SUSPENDED)
OPERATOR_PROBLEMS = (ProblemCode.FORBIDDEN, ProblemCode.INVALID_REQUEST)


@dataclass(frozen=True)
class Endpoint:
    """One row: a method of a path. A plain handler runs in a thread, an async one on the event loop."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    name: str
    """What the operation is called in the OpenAPI document and in clients made of it. It is never renamed."""
    handler: Handler
    summary: str
    status: int = 200
    result: type[Answer] | None = None
    events: Mapping[str, type[Answer]] = field(default_factory=dict)
    """The events of its stream and what each has as data, for an endpoint that answers with server-sent events."""
    body: tuple[type[BaseModel], ...] = ()
    parameters: tuple[Parameter[Any], ...] = ()
    """The parameters that the handler reads, in the path, the query and the headers."""
    headers: tuple[ResponseHeader, ...] = ()
    """The headers of its good answers, beside those of all answers."""
    unready: bool = False
    """Whether it answers 503 with its usual body, too."""
    problems: tuple[ProblemCode, ...] = ()
    public: bool = False
    proof: Callable[[Call], None] | None = None
    """Raises Problem when the head of a public request shows that it is not from whom it should be.

    It runs in a thread, before the body is read."""
    operator: bool = False
    """Whether it is for operators only."""
    action: Action | None = None
    """What the customer's billing state must allow. It is None for an order, which domain.admission decides about."""

    @property
    def changes(self) -> bool:
        """Whether it changes something, and so has a rate limit of its own and a line in the audit log."""
        return self.method != "GET"

    @property
    def takes_body(self) -> bool:
        """Whether it wants a body. Otherwise a body is refused."""
        return bool(self.body)
