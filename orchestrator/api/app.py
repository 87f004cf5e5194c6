"""The ASGI application: its parts and its routes."""

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import metadata

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp

from orchestrator.api.endpoints import TABLES
from orchestrator.api.http.auth import Tokens, TokenUses
from orchestrator.api.http.call import Parts
from orchestrator.api.http.changes import Changes, Waker
from orchestrator.api.http.endpoint import Endpoint
from orchestrator.api.http.headers import Guard
from orchestrator.api.http.limits import Limiter
from orchestrator.api.http.problems import handle_defect, handle_http_error
from orchestrator.api.http.readiness import Readiness
from orchestrator.api.http.serving import serve
from orchestrator.api.http.streams import Streams
from orchestrator.api.openapi.document import make_renderer
from orchestrator.drivers.secrets import read_secrets
from orchestrator.play.inventory import load_catalogue
from orchestrator.settings import Settings
from orchestrator.store.connection import Database
from orchestrator.store.embedded import resolve_url

_ROOMS = frozenset(f"{prefix}{endpoint.path}".split("/")[1] for prefix, table in TABLES for endpoint in table)
"""The first parts of all paths."""


def make_app(settings: Settings) -> ASGIApp:
    """Make the application of a process. Raises ConfigurationError."""
    if os.access(settings.secrets_path, os.R_OK):  # without the file there are no webhooks
        read_secrets(settings.secrets_path)
    database = Database(resolve_url(settings), size=settings.pool_size)
    # There are as many threads as connections, because each needs the other. They are not Starlette's own, because
    # anyio's bookkeeping costs as much CPU again as the hop itself (docs/adr/0001-sync-store-verbs.md).
    threads = ThreadPoolExecutor(settings.pool_size, thread_name_prefix="request")
    streams = Streams()
    changes = Changes(database, streams.leave)
    parts = Parts(
        settings=settings,
        database=database,
        catalogue=load_catalogue(settings.catalogue_path),
        tokens=Tokens(database, changes.tell),
        changes=changes,
        waker=Waker(database),
        uses=TokenUses(database),
        limiter=Limiter(settings),
        threads=threads,
        readiness=Readiness(database, threads),
        streams=streams,
        document=make_renderer(metadata.version("hostwright")),
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        database.open()
        parts.changes.start(asyncio.get_running_loop())
        parts.streams.start()
        parts.waker.start()
        parts.tokens.start()
        parts.uses.start()
        try:
            yield
        finally:
            parts.uses.stop()
            parts.tokens.stop()
            parts.waker.stop()
            parts.streams.stop()
            parts.changes.stop()
            parts.threads.shutdown()
            database.close()

    application = Starlette(
        routes=_routes(parts),
        lifespan=lifespan,
        exception_handlers={HTTPException: handle_http_error, Exception: handle_defect},
    )
    # A redirect would repeat any host that the client names, and name plain HTTP behind a TLS front.
    application.router.redirect_slashes = False
    return Guard(application, settings, _ROOMS)


def _routes(parts: Parts) -> list[Route]:
    routes = []
    for prefix, endpoints in TABLES:
        by_path: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            by_path.setdefault(endpoint.path, []).append(endpoint)
        routes += [
            Route(prefix + path, serve(parts, here, prefix + path), methods=[each.method for each in here])
            for path, here in by_path.items()
        ]
    return routes
