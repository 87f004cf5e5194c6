"""The rows of operations, whose paths lie below those of instances."""

from orchestrator.api.http.endpoint import Endpoint
from orchestrator.api.http.parameters import CUSTOMER, IF_NONE_MATCH, LAST_EVENT_ID, WAIT
from orchestrator.api.http.response_headers import ETAG, PREFERENCE_APPLIED
from orchestrator.api.operations import handlers
from orchestrator.api.operations.answers import (
    ACCEPTED_HEADERS,
    Accepted,
    EndAnswer,
    EventAnswer,
    EventPage,
    OperationAnswer,
    OperationPage,
)
from orchestrator.domain.billing import Action
from orchestrator.domain.errors import ProblemCode

ENDPOINTS = (
    Endpoint(
        "GET", "/operations", "listOperations", handlers.list_all,
        "List operations, newest first", result=OperationPage,
        parameters=(handlers.STATUS, handlers.KIND, CUSTOMER, *handlers.PAGES.parameters),
        problems=(ProblemCode.INVALID_REQUEST, ProblemCode.FORBIDDEN),
    ),
    Endpoint(
        "GET", "/operations/{operation_id}", "showOperation", handlers.show,
        "Show an operation, or wait for its next change",
        result=OperationAnswer, parameters=(handlers.OPERATION, WAIT, IF_NONE_MATCH),
        headers=(ETAG, PREFERENCE_APPLIED),
        problems=(ProblemCode.NOT_FOUND,),
    ),
    Endpoint(
        "GET", "/operations/{operation_id}/events", "listEvents", handlers.events, "Read an operation's log",
        result=EventPage, parameters=(handlers.OPERATION, *handlers.EVENT_PAGES.parameters),
        problems=(ProblemCode.INVALID_REQUEST, ProblemCode.NOT_FOUND),
    ),
    Endpoint(
        "GET", "/operations/{operation_id}/stream", "streamOperation", handlers.stream,
        "Follow an operation to its end",
        events={"operation": OperationAnswer, "log": EventAnswer, "end": EndAnswer},
        parameters=(handlers.OPERATION, LAST_EVENT_ID), problems=(ProblemCode.INVALID_REQUEST, ProblemCode.NOT_FOUND),
    ),
    Endpoint(
        "POST", "/operations/{operation_id}/cancel", "cancelOperation", handlers.cancel,
        "Cancel an order or a start, and undo it",
        status=202, result=Accepted, parameters=(handlers.OPERATION,), headers=ACCEPTED_HEADERS, action=Action.CANCEL,
        problems=(
            ProblemCode.NOT_FOUND, ProblemCode.ALREADY_FINISHED, ProblemCode.NOT_CANCELLABLE,
            ProblemCode.CUSTOMER_SUSPENDED,
        ),
    ),
    Endpoint(
        "POST", "/operations/{operation_id}/retry", "retryOperation", handlers.retry,
        "Take a failed order up again on the machine that was kept",
        status=202, result=Accepted, parameters=(handlers.OPERATION,), headers=ACCEPTED_HEADERS, action=Action.RETRY,
        problems=(
            ProblemCode.NOT_FOUND, ProblemCode.NOT_RETRYABLE, ProblemCode.INSTANCE_BUSY,
            ProblemCode.PAYMENT_REQUIRED, ProblemCode.CUSTOMER_SUSPENDED, ProblemCode.QUOTA_EXCEEDED,
        ),
    ),
)  # fmt: skip
