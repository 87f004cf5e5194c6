"""The HTTP manners of Proxmox's daemon that fakepve leaves out, and its bad days.

Errors close the connection; a refused token has an empty body and comes late; a DELETE with a body is a 501;
a proxy error (595, 596) has an empty body. Faults make requests hang or drop the connection once accepted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

AUTHENTICATION_DELAY = 3.0  # seconds before a bad token is answered, at speed 1
HANG_SECONDS = 30.0  # what Proxmox's own proxy waits for a hung daemon, at speed 1


class HttpFaults:
    """Requests that shall hang or lose their connection."""

    def __init__(self) -> None:
        self.faults: list[dict[str, Any]] = []

    def take(self, request: web.Request) -> dict[str, Any] | None:
        for fault in self.faults:
            if request.method == fault["method"] and request.path.endswith(fault["path"]):
                if fault.get("times") is not None:
                    fault["times"] -= 1
                    if fault["times"] <= 0:
                        self.faults.remove(fault)
                return fault
        return None


def manners(faults: HttpFaults, speed: Callable[[], float], changed: Callable[[], None]) -> Any:
    """The outermost middleware. `changed` is called after every request that may have changed something."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = faults.take(request)
        if fault is not None and fault["error"] == "hang":
            await asyncio.sleep(fault.get("seconds", HANG_SECONDS * speed()))
            return _bare(596, "Connection timed out")
        if request.method == "DELETE" and request.body_exists:
            return _bare(501, "Unexpected content for method 'DELETE'")
        response = await handler(request)
        if request.method != "GET":
            changed()
        if fault is not None and request.transport is not None:  # "drop": accepted, but nobody hears of it
            request.transport.abort()
        return await _as_proxmox_does(request, response, speed())

    return middleware


async def _as_proxmox_does(request: web.Request, response: web.StreamResponse, speed: float) -> web.StreamResponse:
    if response.status < 400:
        return response
    if response.status == 401 and request.headers.get("Authorization", "").startswith("PVEAPIToken="):
        await asyncio.sleep(AUTHENTICATION_DELAY * speed)
        return _bare(401, "Authentication failed!")
    if response.status in (595, 596):
        return _bare(response.status, response.reason or "")
    response.force_close()
    return response


def _bare(status: int, reason: str) -> web.Response:
    response = web.Response(status=status, reason=reason)
    response.force_close()
    return response
