"""What an endpoint is: one method of one path, its handler, and what the OpenAPI document says of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from starlette.responses import Response

from orchestrator.api.http.answers import Answer
from orchestrator.api.http.call import Call
from orchestrator.api.http.parameters import Parameter
from orchestrator.domain.billing import Action
from orchestrator.domain.errors import ProblemCode

Handler = Callable[[Call], Response] | Callable[[Call], Awaitable[Response]]

BODY_PROBLEMS = (ProblemCode.INVALID_REQUEST, ProblemCode.BODY_TOO_LARGE, ProblemCode.UNSUPPORTED_MEDIA_TYPE)
BILLING_PROBLEMS = (ProblemCode.PAYMENT_REQUIRED, ProblemCode.CUSTOMER_SUSPENDED)
OPERATOR_PROBLEMS = (ProblemCode.FORBIDDEN, ProblemCode.INVALID_REQUEST)


@dataclass(frozen=True)
class Endpoint:
    """One method of one path. A plain function runs in a thread, an async one on the loop."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Handler
    summary: str
    status: int = 200
    result: type[Answer] | None = None
    body: tuple[type[BaseModel], ...] = ()
    parameters: tuple[Parameter[Any], ...] = ()
    """Those of the path, the query and the headers that the handler reads."""
    problems: tuple[ProblemCode, ...] = ()
    public: bool = False
    operator: bool = False
    """For operators only."""
    free_body: bool = False
    """It takes a JSON body of more than one spelling, which no model describes."""
    action: Action | None = None
    """What a customer's billing state must allow; an order is decided with its other facts (domain.admission)."""

    @property
    def changes(self) -> bool:
        """Whether it is to change something, and so is counted apart and kept in the audit log."""
        return self.method != "GET"

    @property
    def takes_body(self) -> bool:
        """Whether a body is wanted; where it is not, one is refused."""
        return bool(self.body) or self.free_body
