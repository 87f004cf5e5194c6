"""The route table: every endpoint once, with what the OpenAPI document says of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel
from starlette.responses import Response

from orchestrator.api import audit, customers, service, tokens
from orchestrator.api.hooks import handlers as hooks
from orchestrator.api.http.answers import Accepted, Answer
from orchestrator.api.http.call import Call
from orchestrator.api.instances import handlers as instances
from orchestrator.api.instances.answers import InstanceAnswer, InstancePage
from orchestrator.api.instances.orders import DevOrder, GameOrder
from orchestrator.api.operations import handlers as operations
from orchestrator.api.operations.answers import EventPage, OperationAnswer, OperationPage
from orchestrator.domain.billing import Action
from orchestrator.domain.errors import ProblemCode

Handler = Callable[[Call], Response] | Callable[[Call], Awaitable[Response]]


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
    query: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
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


BILLING_PROBLEMS = (ProblemCode.PAYMENT_REQUIRED, ProblemCode.CUSTOMER_SUSPENDED)
_BODY_PROBLEMS = (
    ProblemCode.INVALID_REQUEST,
    ProblemCode.BODY_TOO_LARGE,
    ProblemCode.UNSUPPORTED_MEDIA_TYPE,
)
_ORDER_PROBLEMS = (
    *_BODY_PROBLEMS,
    ProblemCode.FORBIDDEN,
    *BILLING_PROBLEMS,
    ProblemCode.QUOTA_EXCEEDED,
    ProblemCode.IDEMPOTENCY_KEY_REUSED,
    ProblemCode.CREATE_IN_PROGRESS,
)
_OPERATOR_PROBLEMS = (ProblemCode.FORBIDDEN, ProblemCode.INVALID_REQUEST)

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
        status=202, result=Accepted, action=Action.CANCEL,
        problems=(
            ProblemCode.NOT_FOUND, ProblemCode.ALREADY_FINISHED, ProblemCode.NOT_CANCELLABLE,
            ProblemCode.CUSTOMER_SUSPENDED,
        ),
    ),
    Endpoint(
        "POST", "/operations/{operation_id}/retry", operations.retry,
        "Take a failed order up again on the machine that was kept",
        status=202, result=Accepted, action=Action.RETRY,
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
        status=202, result=Accepted, action=Action.DELETE,
        problems=(ProblemCode.NOT_FOUND, ProblemCode.DELETED, ProblemCode.INSTANCE_BUSY, *BILLING_PROBLEMS),
    ),
    Endpoint(
        "POST", "/{server_id}/start", instances.start, "Start a stopped instance and publish it again",
        status=202, result=Accepted, action=Action.START, problems=_POWER_PROBLEMS,
    ),
    Endpoint(
        "POST", "/{server_id}/stop", instances.stop, "Take an instance off the edge and stop it",
        status=202, result=Accepted, action=Action.STOP, problems=_POWER_PROBLEMS,
    ),
)  # fmt: skip

OPERATOR_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET", "/customers", customers.list_all, "List customers", operator=True,
        result=customers.CustomerPage, query=("after", "limit"), problems=_OPERATOR_PROBLEMS,
    ),
    Endpoint(
        "GET", "/customers/{customer_id}", customers.show, "Show a customer", operator=True,
        result=customers.CustomerAnswer, problems=(ProblemCode.FORBIDDEN, ProblemCode.NOT_FOUND),
    ),
    Endpoint(
        "PUT", "/customers/{customer_id}", customers.put, "Make a customer, or set its billing state and limits",
        operator=True, result=customers.CustomerAnswer, body=(customers.CustomerChange,),
        problems=(ProblemCode.FORBIDDEN, *_BODY_PROBLEMS),
    ),
    Endpoint(
        "GET", "/tokens", tokens.list_all, "List access tokens, newest first", operator=True,
        result=tokens.TokenPage, query=("customerId", "after", "limit"), problems=_OPERATOR_PROBLEMS,
    ),
    Endpoint(
        "POST", "/tokens", tokens.create, "Make an access token; it is shown this once", operator=True,
        status=201, result=tokens.NewToken, body=(tokens.TokenRequest,),
        problems=(ProblemCode.FORBIDDEN, *_BODY_PROBLEMS),
    ),
    Endpoint(
        "DELETE", "/tokens/{token_id}", tokens.revoke, "Revoke an access token", operator=True,
        status=204, problems=(ProblemCode.FORBIDDEN, ProblemCode.NOT_FOUND),
    ),
    Endpoint(
        "GET", "/audit", audit.list_all, "Read the audit log, newest first", operator=True,
        result=audit.AuditPage, query=("after", "limit", "customerId"), problems=_OPERATOR_PROBLEMS,
    ),
)  # fmt: skip

SERVICE_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/healthz", service.healthz, "The process answers", public=True),
    Endpoint("GET", "/readyz", service.readyz, "Database, schema and a worker are there", public=True),
    Endpoint(
        "POST", "/internal/velocity/proxy-status", service.proxy_status, "Take the proxy bridge's callbacks",
        status=204, public=True, free_body=True,
        problems=(*_BODY_PROBLEMS, ProblemCode.UNAUTHENTICATED, ProblemCode.UNAVAILABLE),
    ),
    Endpoint(
        "POST", "/internal/billing", hooks.billing, "Take what the billing system says of a customer",
        status=204, public=True, body=(hooks.BillingEvent,), headers=("X-Hostwright-Signature",),
        problems=(
            *_BODY_PROBLEMS, ProblemCode.UNAUTHENTICATED, ProblemCode.NOT_FOUND, ProblemCode.UNAVAILABLE,
        ),
    ),
    Endpoint(
        "POST", "/api/callbacks/{token}", hooks.callback, "Take what an instance says of itself, once",
        status=204, public=True, body=(hooks.CallbackReport,),
        problems=(*_BODY_PROBLEMS, ProblemCode.NOT_FOUND, ProblemCode.UNAVAILABLE),
    ),
)  # fmt: skip

LEGACY_PREFIX = "/api/servers"
TABLES: tuple[tuple[str, tuple[Endpoint, ...]], ...] = (
    ("/api/instances", INSTANCE_ENDPOINTS),
    (LEGACY_PREFIX, INSTANCE_ENDPOINTS),
    ("/api", OPERATOR_ENDPOINTS),
    ("", SERVICE_ENDPOINTS),
)
"""Where each endpoint answers."""
