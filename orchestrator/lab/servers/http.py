"""HTTP servers of the lab: serving an application, reading a body, and carrying out an armed fault."""

import asyncio
import json
import logging
import socket
import ssl
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from orchestrator.lab.errors import InputError, LabError
from orchestrator.lab.faults import Fault, Faults
from orchestrator.lab.servers.sockets import bind_tcp

SHUTDOWN_SECONDS = 0.2
"""How long a handler that hangs because of a fault may delay the end of the lab."""
AGAIN_SECONDS = 0.05
"""How long a service that is to come back waits when its address is taken."""

log = logging.getLogger(__name__)


async def serve_http(app: web.Application, sock: socket.socket, tls: ssl.SSLContext | None = None) -> web.AppRunner:
    """Serve the application on the socket. `runner.cleanup()` ends that and closes the socket."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    await web.SockSite(runner, sock, ssl_context=tls).start()
    return runner


class HttpService:
    """An application at an address, which can be away for a while like a daemon that restarts."""

    def __init__(
        self,
        make_application: Callable[[], web.Application],
        address: str,
        port: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address = address
        self.port = port
        self._make_application = make_application
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._return: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. Port 0 becomes the port that the kernel chose. Raises LabError when the address is taken."""
        self._runner = await serve_http(self._make_application(), bind_tcp(self.address, self.port), self._tls)
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        if self._return is not None:
            self._return.cancel()
            await asyncio.gather(self._return, return_exceptions=True)
        await self._stop()

    async def go_away(self, seconds: float) -> None:
        """Cut and refuse connections for `seconds`. A second call counts from its own time."""
        await self.close()
        self._return = asyncio.create_task(self._start_after(seconds))

    async def _stop(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _start_after(self, seconds: float) -> None:
        """Start, and try again while the address is taken."""
        said = False
        while True:
            await asyncio.sleep(seconds)
            try:
                return await self.start()
            except LabError as error:
                if not said:
                    log.error("a service is still away: %s", error)  # noqa: TRY400 - the sentence says it all
                said, seconds = True, AGAIN_SECONDS


async def read_json(request: web.Request) -> dict[str, Any]:
    """The body as an object. Raises InputError when it is not a JSON object."""
    try:
        value = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise InputError("body", "is not JSON") from error
    if not isinstance(value, dict):
        raise InputError("body", "is not a JSON object")
    return value


async def read_json_or_form(request: web.Request) -> dict[str, Any]:
    """The body as an object, from JSON or a form. Without a content type the first character decides."""
    body = await request.read()
    if request.content_type == "application/x-www-form-urlencoded" and not body.lstrip().startswith(b"{"):
        return {key: str(value) for key, value in (await request.post()).items()}
    return await read_json(request)


def with_faults(target: str, faults: Faults, respond: Callable[[Fault], web.Response | None]) -> Middleware:
    """A middleware that carries out an armed fault: it waits `hang` seconds, then gives the answer of `respond`.

    Where `respond` gives None the request is handled as usual. The answer gets the Retry-After that the fault names."""

    @web.middleware
    async def carry_out_fault(request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = faults.take(target, method=request.method, path=request.path)
        if fault is not None:
            await asyncio.sleep(fault.get("hang", 0))
            response = respond(fault)
            if response is not None:
                response.headers.update(_make_retry_after(fault))
                return response
        return await handler(request)

    return carry_out_fault


def _make_retry_after(fault: Fault) -> dict[str, str]:
    if "retryDate" in fault:
        return {"Retry-After": formatdate(time.time() + fault["retryDate"], usegmt=True)}
    return {"Retry-After": str(fault["retryAfter"])} if "retryAfter" in fault else {}
