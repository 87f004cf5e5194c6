"""The ASGI application: parts, routes, and what every request passes through."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import metadata
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.api import openapi
from orchestrator.api.auth import Tokens
from orchestrator.api.changes import Changes, Waker
from orchestrator.api.context import Call, Parts
from orchestrator.api.endpoints import INSTANCE_ENDPOINTS, SERVICE_ENDPOINTS, Endpoint
from orchestrator.api.problems import handle_defect, handle_http_error, problem_response, unavailable
from orchestrator.catalogue import load_catalogue
from orchestrator.database import resolve_url
from orchestrator.errors import Problem, ProblemCode, StoreUnavailable
from orchestrator.settings import Settings
from orchestrator.store.connection import Database

MAX_BODY_BYTES = 64 * 1024


def make_app(settings: Settings) -> Starlette:
    """The application of one process. Raises ConfigurationError."""
    database = Database(resolve_url(settings), size=settings.pool_size)
    parts = Parts(
        settings=settings,
        database=database,
        catalogue=load_catalogue(settings.catalogue_path),
        tokens=Tokens(database),
        changes=Changes(database),
        waker=Waker(database),
        # As many threads as connections: one without the other would only wait. Not Starlette's own threads, because
        # anyio's bookkeeping costs as much CPU again as the hop itself (docs/adr/0001-sync-store-verbs.md).
        threads=ThreadPoolExecutor(settings.pool_size, thread_name_prefix="request"),
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        database.open()
        parts.changes.start(asyncio.get_running_loop())
        parts.waker.start()
        try:
            yield
        finally:
            parts.waker.stop()
            parts.changes.stop()
            parts.threads.shutdown()
            database.close()

    return Starlette(
        routes=_routes(parts),
        lifespan=lifespan,
        exception_handlers={HTTPException: handle_http_error, Exception: handle_defect},
    )


def _routes(parts: Parts) -> list[Route]:
    document = openapi.document(metadata.version("hostwright"))

    async def show_document(request: Request) -> Response:
        return JSONResponse(document)

    routes = [Route("/openapi.json", show_document, methods=["GET"])]
    tables = (
        ("/api/instances", INSTANCE_ENDPOINTS, False),
        ("/api/servers", INSTANCE_ENDPOINTS, True),
        ("", SERVICE_ENDPOINTS, False),
    )
    for prefix, endpoints, legacy in tables:
        by_path: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            by_path.setdefault(endpoint.path, []).append(endpoint)
        routes += [
            Route(prefix + path, _serve(parts, here, legacy), methods=[endpoint.method for endpoint in here])
            for path, here in by_path.items()
        ]
    return routes


def _serve(parts: Parts, endpoints: list[Endpoint], legacy: bool) -> Callable[[Request], Any]:
    handlers: dict[str, Endpoint] = {endpoint.method: endpoint for endpoint in endpoints}

    async def serve(request: Request) -> Response:
        endpoint = handlers["GET" if request.method == "HEAD" else request.method]
        try:
            body = await _read_body(request) if request.method == "POST" else b""
            call = Call(parts, request.path_params, request.query_params, request.headers, body, legacy)
            response: Response
            if inspect.iscoroutinefunction(endpoint.handler):
                response = await endpoint.handler(call)
            else:
                response = await call.in_thread(_run, endpoint, call)
        except Problem as problem:
            response = problem_response(problem)
        except StoreUnavailable:
            response = problem_response(unavailable())
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return serve


def _run(endpoint: Endpoint, call: Call) -> Response:
    call.permit(endpoint.action)
    return cast("Callable[[Call], Response]", endpoint.handler)(call)


async def _read_body(request: Request) -> bytes:
    """The body, read no further than it may be long. Raises Problem."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem(ProblemCode.UNSUPPORTED_MEDIA_TYPE, "send the body as application/json")
    too_large = Problem(
        ProblemCode.BODY_TOO_LARGE,
        f"the body is larger than {MAX_BODY_BYTES // 1024} KiB",
        headers={"Connection": "close"},
    )
    length = request.headers.get("content-length", "0")
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
