"""The HTTP manners of Proxmox's daemon that fakepve leaves out, its bad days, and a record of what it accepted.

Errors close the connection; a refused token has an empty body and comes late; a DELETE with a body is a 501;
a proxy error (595, 596) has an empty body.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from aiohttp import web
from fakepve import PveError
from fakepve.server import USER, error, params

from orchestrator.lab.history import History

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

AUTHENTICATION_DELAY = 3.0  # seconds before a bad token is answered, at speed 1
HANG_SECONDS = 30.0  # what Proxmox's own proxy waits for a hung daemon, at speed 1
_VMID = re.compile(r"/(?:lxc|qemu)/(\d+)")


class HttpFaults:
    """Requests that shall fail, hang, come late or lose their connection; the oldest fault that fits is used."""

    def __init__(self) -> None:
        self.faults: list[dict[str, Any]] = []

    def take(self, request: web.Request) -> dict[str, Any]:
        """The fault for this request, empty when there is none."""
        for fault in self.faults:
            if fault.get("method", request.method) == request.method and _fits(fault.get("path", "*"), request.path):
                if fault.get("times") is not None:
                    fault["times"] -= 1
                    if fault["times"] <= 0:
                        self.faults.remove(fault)
                return fault
        return {}


def _fits(pattern: str, path: str) -> bool:
    """How the path ends, with `*` for anything: `*` alone is every path."""
    return fnmatchcase(path, f"*{pattern}") if "*" in pattern else path.endswith(pattern)


@dataclass(frozen=True)
class Manners:
    """`changed` is called after every request that may have changed something."""

    faults: HttpFaults
    history: History
    speed: Callable[[], float]
    changed: Callable[[], None]

    def middleware(self) -> Any:
        """The outermost one."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            fault = self.faults.take(request)
            if fault:
                await request.read()  # unread, it would hold the connection for a while
            refusal = await self._refusal(request, fault)
            if refusal is not None:
                return refusal
            response = await handler(request)
            if request.method != "GET":
                await self._accepted(request, response)
            if fault.get("error") == "drop" and request.transport is not None:  # accepted, but nobody hears of it
                request.transport.abort()
            return await _as_proxmox_does(request, response, self.speed())

        return middleware

    async def _refusal(self, request: web.Request, fault: dict[str, Any]) -> web.Response | None:
        if fault.get("error") == "hang":
            await asyncio.sleep(fault.get("seconds", HANG_SECONDS * self.speed()))
            return _bare(596, "Connection timed out")
        if fault.get("error") == "delay":  # carried out later, whether or not somebody still waits
            await asyncio.sleep(fault["seconds"])
        if fault.get("status") in (595, 596):
            return _bare(fault["status"], fault["message"])
        if "status" in fault:
            refused: web.Response = error(fault["status"], fault["message"])
            refused.force_close()
            return refused
        if request.method == "DELETE" and request.body_exists:
            return _bare(501, "Unexpected content for method 'DELETE'")
        return None

    async def _accepted(self, request: web.Request, response: web.StreamResponse) -> None:
        self.changed()
        if response.status >= 400 or not isinstance(response, web.Response):
            return
        try:
            given = await params(request)
        except PveError:
            given = {}
        upid = json.loads(response.text or "{}").get("data")
        found = _VMID.search(request.path)
        vmid = given.get("newid", found.group(1) if found else None)
        self.history.add(
            "proxmox",
            method=request.method,
            path=request.path.removeprefix("/api2/json"),
            vmid=None if vmid is None else int(vmid),
            user=request.get(USER),
            client=request.remote,
            upid=upid if isinstance(upid, str) and upid.startswith("UPID:") else None,
        )


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
