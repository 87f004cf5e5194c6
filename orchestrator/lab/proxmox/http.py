"""How Proxmox's daemon behaves over HTTP where fakepve does not: errors, faults, and a record of what was accepted.

An error closes the connection. The answer to a refused token comes late and has no body. A DELETE with a body is a 501.
An error of Proxmox's own proxy (595, 596) has no body.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from fakepve import PveError
from fakepve.server import USER, error, params

from orchestrator.lab.faults import Fault
from orchestrator.lab.history import History
from orchestrator.lab.proxmox.faults import ProxmoxFaults

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Durations in seconds at speed 1.
AUTHENTICATION_DELAY = 3.0
"""How late the answer to a bad token comes."""
HANG_SECONDS = 30.0
"""How long Proxmox's own proxy waits for a daemon that hangs."""
_VMID = re.compile(r"/(?:lxc|qemu)/(\d+)")


@dataclass(frozen=True)
class DaemonBehaviour:
    """Makes fakepve's application behave like Proxmox's daemon. `save` is called after each changing request."""

    faults: ProxmoxFaults
    history: History
    speed: Callable[[], float]
    save: Callable[[], None]

    def make_middleware(self) -> Any:
        """The outermost middleware of the application."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            fault = self.faults.take_for_request(request)
            if fault:
                await request.read()  # an unread body would hold the connection for a while
            refusal = await self._refuse(request, fault)
            if refusal is not None:
                return refusal
            response = await handler(request)
            if request.method != "GET":
                await self._record(request, response)
            if fault.get("error") == "drop":
                _cut(request)  # the request was accepted, but the client does not hear of it
            return await _shape_error(request, response, self.speed())

        return middleware

    async def _refuse(self, request: web.Request, fault: Fault) -> web.Response | None:
        """The answer to a request that is not carried out; None for one that is, maybe after a delay."""
        if fault.get("error") == "hang":
            await asyncio.sleep(fault.get("seconds", HANG_SECONDS * self.speed()))
            return _answer_without_body(596, "Connection timed out")
        if fault.get("error") == "delay":
            self.history.add("fault", error="delay", method=request.method, path=_path(request))
            await self.faults.delay(fault["seconds"])
        if fault.get("error") == "cut":
            return _cut(request)
        if fault.get("status") in (595, 596):
            return _answer_without_body(fault["status"], fault["message"])
        if "status" in fault:
            refused: web.Response = error(fault["status"], fault["message"])
            refused.force_close()
            return refused
        if request.method == "DELETE" and request.body_exists:
            return _answer_without_body(501, "Unexpected content for method 'DELETE'")
        return None

    async def _record(self, request: web.Request, response: web.StreamResponse) -> None:
        """Save the containers, and add an accepted request to the history."""
        self.save()
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
            path=_path(request),
            vmid=None if vmid is None else int(vmid),
            user=request.get(USER),
            client=request.remote,
            upid=upid if isinstance(upid, str) and upid.startswith("UPID:") else None,
        )


def _path(request: web.Request) -> str:
    return request.path.removeprefix("/api2/json")


async def _shape_error(request: web.Request, response: web.StreamResponse, speed: float) -> web.StreamResponse:
    """Give an error the form that Proxmox's daemon gives it."""
    if response.status < 400:
        return response
    if response.status == 401 and request.headers.get("Authorization", "").startswith("PVEAPIToken="):
        await asyncio.sleep(AUTHENTICATION_DELAY * speed)
        return _answer_without_body(401, "Authentication failed!")
    if response.status in (595, 596):
        return _answer_without_body(response.status, response.reason or "")
    response.force_close()
    return response


def _cut(request: web.Request) -> web.Response:
    """Cut the connection; the answer goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return _answer_without_body(500, "cut")


def _answer_without_body(status: int, reason: str) -> web.Response:
    response = web.Response(status=status, reason=reason)
    response.force_close()
    return response
