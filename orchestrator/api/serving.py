"""What every request passes through: who asks, what it may ask for, and what it sends."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from orchestrator.api.context import Call, Parts
from orchestrator.api.endpoints import Endpoint
from orchestrator.api.problems import problem_response, unavailable
from orchestrator.errors import Problem, ProblemCode, StoreUnavailable

MAX_BODY_BYTES = 64 * 1024


def serve(parts: Parts, endpoints: list[Endpoint], legacy: bool) -> Callable[[Request], Any]:
    """The handler of one path, for all its methods."""
    by_method: dict[str, Endpoint] = {endpoint.method: endpoint for endpoint in endpoints}

    async def handle(request: Request) -> Response:
        endpoint = by_method["GET" if request.method == "HEAD" else request.method]
        call = Call(parts, request.path_params, request.query_params, request.headers, legacy=legacy)
        try:
            return await _answer(call, endpoint, request)
        except Problem as problem:
            return problem_response(problem)
        except StoreUnavailable:
            return problem_response(unavailable())

    return handle


async def _answer(call: Call, endpoint: Endpoint, request: Request) -> Response:
    """The answer; whoever may not ask is told so before anything of the request is read or looked up."""
    if not endpoint.public:
        principal = await call.identify()
        if endpoint.operator and not principal.is_operator:
            raise Problem(ProblemCode.FORBIDDEN, "this is for operators only")
    call = replace(call, body=await _read_body(request, endpoint))
    if inspect.iscoroutinefunction(endpoint.handler):
        if endpoint.action is not None:
            await call.in_thread(call.permit, endpoint.action)
        return cast("Response", await endpoint.handler(call))
    return await call.in_thread(_run, endpoint, call)


def _run(endpoint: Endpoint, call: Call) -> Response:
    if endpoint.action is not None:
        call.permit(endpoint.action)
    return cast("Callable[[Call], Response]", endpoint.handler)(call)


async def _read_body(request: Request, endpoint: Endpoint) -> bytes:
    """The body, read no further than it may be long. Raises Problem."""
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
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise too_large
    except ClientDisconnect:
        raise Problem(ProblemCode.INVALID_REQUEST, "the client went away") from None
    return bytes(body)
