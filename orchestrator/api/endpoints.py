"""The route table: every endpoint once, with what the OpenAPI document says of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from starlette.responses import Response

from orchestrator.api import instances, operations, service
from orchestrator.api.context import Call
from orchestrator.api.requests import DevOrder, GameOrder
from orchestrator.api.responses import (
    Accepted,
    Answer,
    EventPage,
    InstanceAnswer,
    InstancePage,
    OperationAnswer,
    OperationPage,
)
from orchestrator.errors import ProblemCode

Handler = Callable[[Call], Response] | Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True)
class Endpoint:
    """One method of one path. A plain function runs in a thread, an async one on the loop."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    handler: Handler
    summary: str
    status: int = 200
    result: type[Answer] | None = None
    body: tuple[type[GameOrder] | type[DevOrder], ...] = ()
    query: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    problems: tuple[ProblemCode, ...] = ()
    public: bool = False

    @property
    def takes_body(self) -> bool:
        """Whether a request has a body; one that needs none may send none."""
        return self.method == "POST" and "{" not in self.path


_ORDER_PROBLEMS = (
    ProblemCode.INVALID_REQUEST,
    ProblemCode.FORBIDDEN,
    ProblemCode.PAYMENT_REQUIRED,
    ProblemCode.CUSTOMER_SUSPENDED,
    ProblemCode.QUOTA_EXCEEDED,
    ProblemCode.IDEMPOTENCY_KEY_REUSED,
    ProblemCode.CREATE_IN_PROGRESS,
    ProblemCode.BODY_TOO_LARGE,
    ProblemCode.UNSUPPORTED_MEDIA_TYPE,
)

_POWER_PROBLEMS = (
    ProblemCode.NOT_FOUND,
    ProblemCode.DELETED,
    ProblemCode.INSTANCE_BUSY,
    ProblemCode.NOT_STARTABLE,
    ProblemCode.CUSTOMER_SUSPENDED,
)

# The paths of instances also answer under /api/servers; those of operations stand first, because "operations" would
# else be taken for a server's id.
INSTANCE_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET", "/operations", operations.list_all, "List operations, newest first",
        result=OperationPage, query=("status", "kind", "customerId", "after", "limit"),
        problems=(ProblemCode.INVALID_REQUEST, ProblemCode.FORBIDDEN),
    ),
    Endpoint(
        "GET", "/operations/{operation_id}", operations.show, "Show an operation, or wait for its next change",
        result=OperationAnswer, headers=("Prefer", "If-None-Match"), problems=(ProblemCode.NOT_FOUND,),
    ),
    Endpoint(
        "GET", "/operations/{operation_id}/events", operations.events, "Read an operation's log",
        result=EventPage, query=("after", "limit"),
        problems=(ProblemCode.INVALID_REQUEST, ProblemCode.NOT_FOUND),
    ),
    Endpoint(
        "POST", "/operations/{operation_id}/cancel", operations.cancel, "Cancel an order or a start, and undo it",
        status=202, result=Accepted,
        problems=(ProblemCode.NOT_FOUND, ProblemCode.ALREADY_FINISHED, ProblemCode.NOT_CANCELLABLE),
    ),
    Endpoint(
        "POST", "/operations/{operation_id}/retry", operations.retry,
        "Take a failed order up again on the machine that was kept",
        status=202, result=Accepted,
        problems=(
            ProblemCode.NOT_FOUND, ProblemCode.NOT_RETRYABLE, ProblemCode.PAYMENT_REQUIRED,
            ProblemCode.CUSTOMER_SUSPENDED, ProblemCode.QUOTA_EXCEEDED,
        ),
    ),
    Endpoint(
        "POST", "", instances.create, "Order a game server or a dev container",
        status=202, result=Accepted, body=(GameOrder, DevOrder), headers=("Idempotency-Key", "Prefer"),
        problems=_ORDER_PROBLEMS,
    ),
    Endpoint(
        "GET", "", instances.list_all, "List instances in the order they were ordered",
        result=InstancePage, query=("leaked", "after", "limit"), problems=(ProblemCode.INVALID_REQUEST,),
    ),
    Endpoint(
        "GET", "/{server_id}", instances.show, "Show an instance, by its id or its VMID",
        result=InstanceAnswer, problems=(ProblemCode.NOT_FOUND, ProblemCode.DELETED),
    ),
    Endpoint(
        "DELETE", "/{server_id}", instances.delete, "Tear an instance down",
        status=202, result=Accepted,
        problems=(ProblemCode.NOT_FOUND, ProblemCode.DELETED, ProblemCode.INSTANCE_BUSY),
    ),
    Endpoint(
        "POST", "/{server_id}/start", instances.start, "Start a stopped instance and publish it again",
        status=202, result=Accepted, problems=_POWER_PROBLEMS,
    ),
    Endpoint(
        "POST", "/{server_id}/stop", instances.stop, "Take an instance off the edge and stop it",
        status=202, result=Accepted, problems=_POWER_PROBLEMS,
    ),
)  # fmt: skip

SERVICE_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/healthz", service.healthz, "The process answers", public=True),
    Endpoint("GET", "/readyz", service.readyz, "Database, schema and a worker are there", public=True),
    Endpoint(
        "POST", "/internal/velocity/proxy-status", service.proxy_status, "Take the proxy bridge's callbacks",
        status=204, public=True, problems=(ProblemCode.INVALID_REQUEST, ProblemCode.UNAUTHENTICATED),
    ),
)  # fmt: skip
