"""The way of a request: who asks, whether it may, what it sends, its handler, and its line in the audit log."""

import asyncio
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from orchestrator.api.http.addresses import client_address
from orchestrator.api.http.audit_line import write_line
from orchestrator.api.http.call import Call, Parts
from orchestrator.api.http.endpoint import Endpoint
from orchestrator.api.http.limits import TooMany
from orchestrator.api.http.problems import problem_response, unavailable
from orchestrator.domain.billing import Action, refuse
from orchestrator.domain.errors import Problem, ProblemCode, StoreUnavailable
from orchestrator.store import accounts

MAX_BODY_BYTES = 64 * 1024
BODY_SECONDS = 10
"""How long a body may take to arrive, because a client that sends it slowly holds a connection."""


def serve(parts: Parts, endpoints: list[Endpoint], path: str) -> Callable[[Request], Any]:
    """Make the handler of one path for all its methods. `path` is the whole path, as the audit log names it."""
    by_method: dict[str, Endpoint] = {endpoint.method: endpoint for endpoint in endpoints}
    trusted = parts.settings.trusted_networks

    async def handle(request: Request) -> Response:
        endpoint = by_method["GET" if request.method == "HEAD" else request.method]
        peer = request.client.host if request.client else None
        # Some proxies add a header line of their own instead of extending the one that is there.
        address = client_address(peer, ",".join(request.headers.getlist("x-forwarded-for")), trusted)
        call = Call(
            parts,
            request.method,
            path,
            address,
            request.path_params,
            request.query_params,
            request.headers,
            endpoint.parameters,
            request.scope["root_path"],
        )
        if not endpoint.changes:
            return (await _respond(call, endpoint, request))[0]
        try:
            response, code = await _respond(call, endpoint, request)
        except Exception:
            await call.in_thread(write_line, call, 500, ProblemCode.INTERNAL, None)
            raise
        if not call.audited:
            location = response.headers.get("location")
            await call.in_thread(write_line, call, response.status_code, code, location)
        return response

    return handle


async def _respond(call: Call, endpoint: Endpoint, request: Request) -> tuple[Response, ProblemCode | None]:
    """Answer a request. Returns the response, and the code of the problem when it was refused."""
    try:
        return await _answer(call, endpoint, request), None
    except TooMany as problem:
        # Only the first of a row of refusals gets a line, so that a client that asks too often does not fill the log.
        call.audited = not problem.first
        return problem_response(problem), problem.code
    except Problem as problem:
        return problem_response(problem), problem.code
    except StoreUnavailable as error:
        call.parts.database.outage.noticed(error)
        return problem_response(unavailable()), ProblemCode.UNAVAILABLE


async def _answer(call: Call, endpoint: Endpoint, request: Request) -> Response:
    """Answer a request. A client that may not ask is refused before its body is read."""
    if endpoint.public and endpoint.changes:
        return await _answer_stranger(call, endpoint, request)
    if not endpoint.public:
        caller = await call.identify()
        call.parts.limiter.admit(caller, changes=endpoint.changes)
        if endpoint.operator and not caller.is_operator:
            raise Problem(ProblemCode.FORBIDDEN, "this is for operators only")
    call.body = await _read_body(request, endpoint)
    if endpoint.takes_body:
        await call.identify()  # the token may have been revoked while the body was held back
    return await _handle(call, endpoint)


async def _answer_stranger(call: Call, endpoint: Endpoint, request: Request) -> Response:
    """Answer a request without a token, which counts as a bad one until its sender is proven."""
    limiter = call.parts.limiter
    with limiter.suspect(call.address, lambda: call.actor is not None) as is_over:
        if endpoint.proof is not None:
            await call.in_thread(endpoint.proof, call)
        call.body = await _read_body(request, endpoint)
        async with limiter.suspects if is_over and call.actor is None else nullcontext():
            return await _handle(call, endpoint)


async def _handle(call: Call, endpoint: Endpoint) -> Response:
    if inspect.iscoroutinefunction(endpoint.handler):
        if endpoint.action is not None:
            await call.in_thread(_permit, call, endpoint.action)
        return cast("Response", await endpoint.handler(call))
    return await call.in_thread(_run, endpoint, call)


def _permit(call: Call, action: Action) -> None:
    """Raises Problem when the caller's billing state does not allow an action. An operator has none."""
    if call.principal.customer_id is None:
        return
    refusal = refuse(accounts.billing_state(call.parts.database, call.principal.customer_id), action)
    if refusal is not None:
        raise refusal


def _run(endpoint: Endpoint, call: Call) -> Response:
    if endpoint.action is not None:
        _permit(call, endpoint.action)
    return cast("Callable[[Call], Response]", endpoint.handler)(call)


async def _read_body(request: Request, endpoint: Endpoint) -> bytes:
    """Read the body, and stop as soon as it is too long. Raises Problem."""
    length = request.headers.get("content-length", "0")
    if not endpoint.takes_body:
        if length != "0" or "transfer-encoding" in request.headers:
            raise Problem(
                ProblemCode.INVALID_REQUEST, "this request takes no body: send none", headers={"Connection": "close"}
            )
        return b""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem(ProblemCode.UNSUPPORTED_MEDIA_TYPE, "send the body as application/json")
    too_large = Problem(
        ProblemCode.BODY_TOO_LARGE,
        f"the body is larger than {MAX_BODY_BYTES // 1024} KiB",
        headers={"Connection": "close"},
    )
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise too_large
    except TimeoutError:
        raise Problem(
            ProblemCode.INVALID_REQUEST,
            f"the body did not come within {BODY_SECONDS} s",
            headers={"Connection": "close"},
        ) from None
    except ClientDisconnect:
        raise Problem(ProblemCode.INVALID_REQUEST, "the client went away") from None
    return bytes(body)
