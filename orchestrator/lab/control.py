"""The lab's control API, for tests and demos: what exists, what happened, faults, speed, a foreign container."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from aiohttp import web
from aiohttp.typedefs import Handler

from orchestrator.lab.edge.mcrouter import Routes
from orchestrator.lab.edge.registrations import Registrations
from orchestrator.lab.edge.router import PlayerRouter
from orchestrator.lab.edge.traefik import Traefik
from orchestrator.lab.errors import InputError
from orchestrator.lab.faults import FIELDS, SECONDS, TARGETS, Faults, check_guest_fault, is_integer, require
from orchestrator.lab.history import History
from orchestrator.lab.names.zones import Zone
from orchestrator.lab.proxmox.node import LabProxmox
from orchestrator.lab.servers.http import HttpService, read_json

HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Services:
    """What the control API shows and changes."""

    proxmox: LabProxmox
    zones: Sequence[Zone]
    registrations: Registrations
    player_router: PlayerRouter
    bridge: HttpService
    routes: Routes
    traefik: Traefik
    faults: Faults
    history: History


class Control:
    """Bad input is answered with 400 and `{"error": sentence, "field": name}`."""

    def __init__(self, services: Services) -> None:
        self._lab = services

    def make_application(self) -> web.Application:
        app = web.Application(middlewares=[_answer_bad_input])
        app.router.add_get("/inventory", self._show_inventory)
        app.router.add_get("/history", self._show_history)
        app.router.add_post("/faults", self._inject_fault)
        app.router.add_get("/faults/unmet", self._show_unmet)
        app.router.add_delete("/faults", self._clear_faults)
        app.router.add_put("/speed", self._set_speed)
        app.router.add_post("/containers", self._place_foreign)
        app.router.add_post("/proxmox/restart", self._restart_proxmox)
        app.router.add_post("/proxy/restart", self._restart_proxy)
        app.router.add_post("/proxy/away", self._take_bridge_away)
        return app

    async def _show_inventory(self, request: web.Request) -> web.Response:
        await self._lab.traefik.reload()
        inventory = {
            "containers": self._lab.proxmox.containers(),
            "records": [record for zone in self._lab.zones for record in zone.inventory()],
            "registrations": [asdict(backend) for backend in self._lab.registrations.all()],
            "routes": self._lab.routes.inventory(),
            **self._lab.traefik.inventory(),
            "processes": self._lab.proxmox.processes(),
        }
        return web.json_response(inventory)

    async def _show_history(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        if not after.isascii() or not after.isdigit():
            raise InputError("after", "must be the number of an event")
        return web.json_response({"events": self._lab.history.after(int(after))})

    async def _inject_fault(self, request: web.Request) -> web.Response:
        fault = await read_json(request)
        target = fault.get("target")
        if target not in TARGETS:
            raise InputError("target", f"must be one of {', '.join(TARGETS)}")
        if target in FIELDS:
            self._lab.faults.inject(fault)
        else:
            check_guest_fault(fault)
            self._lab.proxmox.inject(fault)
        return web.json_response(fault, status=201)

    async def _show_unmet(self, request: web.Request) -> web.Response:
        return web.json_response({"faults": [*self._lab.faults.unmet(), *self._lab.proxmox.unmet_faults()]})

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._lab.faults.clear()
        self._lab.proxmox.clear_faults()
        return web.Response(status=204)

    async def _set_speed(self, request: web.Request) -> web.Response:
        speed = (await read_json(request)).get("speed")
        if not isinstance(speed, int | float) or isinstance(speed, bool) or not 0 <= speed <= 1000:
            raise InputError("speed", "must be a number from 0 to 1000")
        self._lab.proxmox.set_speed(float(speed))
        return web.json_response({"speed": speed})

    async def _place_foreign(self, request: web.Request) -> web.Response:
        body = await read_json(request)
        vmid, hostname = body.get("vmid"), body.get("hostname")
        # This is Proxmox's own range of VMIDs.
        if not is_integer(vmid) or not 100 <= vmid <= 999_999_999:
            raise InputError("vmid", "must be a whole number from 100 to 999999999")
        if not isinstance(hostname, str) or not HOSTNAME.fullmatch(hostname):
            raise InputError("hostname", "must be a short host name")
        if any(container["vmid"] == vmid for container in self._lab.proxmox.containers()):
            return _refuse(409, "vmid", f"a container {vmid} exists already")
        self._lab.proxmox.place_foreign(vmid, hostname)
        return web.json_response({"vmid": vmid, "hostname": hostname}, status=201)

    async def _restart_proxmox(self, request: web.Request) -> web.Response:
        seconds = await _read_seconds(request)
        await self._lab.proxmox.restart(seconds)
        return web.json_response({"seconds": seconds})

    async def _take_bridge_away(self, request: web.Request) -> web.Response:
        """Only the API that registers goes away. Players still get through."""
        seconds = await _read_seconds(request)
        await self._lab.bridge.go_away(seconds)
        return web.json_response({"seconds": seconds})

    async def _restart_proxy(self, request: web.Request) -> web.Response:
        await self._lab.player_router.restart()
        return web.json_response({"registrations": []})


async def _read_seconds(request: web.Request) -> float:
    seconds = (await read_json(request)).get("seconds")
    require("seconds", seconds, SECONDS)
    return float(str(seconds))


def _refuse(status: int, field: str, message: str) -> web.Response:
    return web.json_response({"error": f"{field}: {message}", "field": field}, status=status)


@web.middleware
async def _answer_bad_input(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except InputError as error:
        return _refuse(400, error.field, error.message)
    except ValueError as error:
        return _refuse(400, "body", str(error))
