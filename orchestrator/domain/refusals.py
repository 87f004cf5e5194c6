"""What each refusal means and what to do about it, for docs/errors.md and the OpenAPI document."""

from typing import NamedTuple

from orchestrator.domain.errors import ProblemCode


class Meaning(NamedTuple):
    """Why a request is refused, and what its sender can do. `remedy` is None when nothing helps or it says itself."""

    cause: str
    remedy: str | None = None


MEANINGS: dict[ProblemCode, Meaning] = {
    ProblemCode.INVALID_REQUEST: Meaning(
        "Body, parameter or header is wrong. "
        "`errors` names every wrong field with a JSON pointer or the parameter's name.",
        "Correct what is named.",
    ),
    ProblemCode.UNAUTHENTICATED: Meaning(
        "No token, or one that is unknown, revoked or expired.",
        "Send `Authorization: Bearer hw_…`.",
    ),
    ProblemCode.PAYMENT_REQUIRED: Meaning(
        "The customer's invoice is overdue.",
        "It may order again after it is paid.",
    ),
    ProblemCode.FORBIDDEN: Meaning(
        "A customer's token named a `customerId`, or asked for what is for operators only.",
        "Leave it out: the token says who orders. Use an operator's token.",
    ),
    ProblemCode.CUSTOMER_SUSPENDED: Meaning(
        "The account is suspended, closed or being deleted. It may still read, and change nothing.",
        "Settle it; an operator sets the state with `hostwright customer set`.",
    ),
    ProblemCode.QUOTA_EXCEEDED: Meaning(
        "The order would use more than the customer's limit in total or for its container type. "
        "`resource`, `ctype`, `limit`, `used` and `requested` say which.",
        "Delete a server, or raise the limit.",
    ),
    ProblemCode.NOT_FOUND: Meaning(
        "There is no such path or thing, or it is somebody else's.",
    ),
    ProblemCode.DELETED: Meaning(
        "The server was the caller's and is deleted, at `deletedAt`.",
    ),
    ProblemCode.METHOD_NOT_ALLOWED: Meaning(
        "The path has no such method; `Allow` names those it has.",
    ),
    ProblemCode.IDEMPOTENCY_KEY_REUSED: Meaning(
        "The key came with another body before. `operationId` is the operation of the first one.",
        "Send a new key with a new order.",
    ),
    ProblemCode.CREATE_IN_PROGRESS: Meaning(
        "Another order of the same type is active and the request has no key. `operationId` names it.",
        "Wait for it, or send an `Idempotency-Key` to order in parallel.",
    ),
    ProblemCode.INSTANCE_BUSY: Meaning(
        "Something else is being done with the server. `operationId` names it.",
        "Wait until it has finished, or cancel it.",
    ),
    ProblemCode.ALREADY_FINISHED: Meaning(
        "The operation to be cancelled has ended.",
        "Delete the server if it is not wanted.",
    ),
    ProblemCode.NOT_CANCELLABLE: Meaning(
        "A deletion, a stop or a cleanup cannot be taken back.",
        "Wait until it has finished.",
    ),
    ProblemCode.NOT_RETRYABLE: Meaning(
        "The operation is no failed order, or its machine was not kept.",
        'Order again, with `onFailure: "keep"` to be able to retry.',
    ),
    ProblemCode.NOT_STARTABLE: Meaning(
        "The server is neither ready nor stopped, so it can be neither started nor stopped.",
        "Look at its `status`.",
    ),
    ProblemCode.BODY_TOO_LARGE: Meaning(
        "The body is larger than 64 KiB.",
    ),
    ProblemCode.URI_TOO_LONG: Meaning(
        "Path and query are longer than 8 KiB.",
    ),
    ProblemCode.UNSUPPORTED_MEDIA_TYPE: Meaning(
        "The body is not sent as `application/json`.",
    ),
    ProblemCode.RATE_LIMITED: Meaning(
        "The token asks too often, or its client's address too often with a bad one.",
        "Wait for the seconds of `Retry-After`.",
    ),
    ProblemCode.HEADERS_TOO_LARGE: Meaning(
        "The headers are larger than 16 KiB.",
    ),
    ProblemCode.INTERNAL: Meaning(
        "A defect of Hostwright; its log has the trace.",
        "Report it.",
    ),
    ProblemCode.UNAVAILABLE: Meaning(
        "The database does not answer, or the webhook's secret is not set.",
        "Try again after `Retry-After`; an order with the same `Idempotency-Key`, so that it is not made twice.",
    ),
}
"""The meaning of every code."""
