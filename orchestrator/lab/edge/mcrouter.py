"""A stand-in for mc-router: its API, and its routes by full host name.

The original asks for no token and belongs behind a server that does. The lab's stand-in is both in one.
"""

import hmac
from dataclasses import asdict
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from orchestrator.lab.edge.minecraft import Handshake
from orchestrator.lab.edge.registrations import Backend
from orchestrator.lab.errors import InputError
from orchestrator.lab.faults import Fault, Faults
from orchestrator.lab.servers.http import read_json, with_faults


class Routes:
    """Host names in lower case → backends, in memory only."""

    def __init__(self) -> None:
        self._routes: dict[str, Backend] = {}

    def find(self, handshake: Handshake) -> Backend | None:
        return self._routes.get(handshake.name)

    def forget(self) -> None:
        self._routes.clear()

    def put(self, host: str, backend: str) -> None:
        """Route a host name to a backend, in place of an earlier one. Raises InputError unless it is ADDRESS:PORT."""
        address, _, port = backend.rpartition(":")
        if not address or not port.isdecimal():
            raise InputError("backend", "must be ADDRESS:PORT")
        self._routes[host.lower()] = Backend(host.lower(), address, int(port))

    def remove(self, host: str) -> bool:
        return self._routes.pop(host, None) is not None

    def all(self) -> list[Backend]:
        return list(self._routes.values())

    def inventory(self) -> list[dict[str, Any]]:
        return [asdict(backend) for backend in self._routes.values()]


def make_application(routes: Routes, *, token: str, faults: Faults) -> web.Application:
    """The API over these routes. Like the original it gives refusals without a body."""

    @web.middleware
    async def authorize(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return web.Response(status=401)
        return await handler(request)

    async def list_routes(request: web.Request) -> web.Response:
        return web.json_response({each.name: {"backend": f"{each.address}:{each.port}"} for each in routes.all()})

    async def create(request: web.Request) -> web.Response:
        try:
            body = await read_json(request)
            routes.put(str(body["serverAddress"]), str(body["backend"]))
        except (InputError, KeyError):
            return web.Response(status=400)
        return web.Response(status=201)

    async def delete(request: web.Request) -> web.Response:
        return web.Response(status=200 if routes.remove(request.match_info["host"]) else 404)

    app = web.Application(middlewares=[with_faults("mc-router", faults, _answer_fault), authorize])
    app.router.add_get("/routes", list_routes)
    app.router.add_post("/routes", create)
    app.router.add_delete("/routes/{host}", delete)
    return app


def _answer_fault(fault: Fault) -> web.Response | None:
    return web.Response(status=fault["httpStatus"]) if "httpStatus" in fault else None
