"""The lab's control API, for tests and demos: what exists and happened, faults, speed, a foreign container."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from orchestrator.lab.edge.mcrouter import Routes
from orchestrator.lab.edge.registrations import Registrations
from orchestrator.lab.edge.router import Edge
from orchestrator.lab.edge.traefik import Traefik
from orchestrator.lab.errors import InputError
from orchestrator.lab.faults import FIELDS, SECONDS, Faults
from orchestrator.lab.history import History
from orchestrator.lab.httpserver import json_object
from orchestrator.lab.listen import HttpService
from orchestrator.lab.names.zones import Zone
from orchestrator.lab.proxmox.server import LabProxmox

AGENT_BEHAVIOURS = ("reject", "error", "crash", "hang", "late", "die")
HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Control:
    """Bad input is 400 with `{"error": sentence, "field": name}`."""

    def __init__(
        self,
        proxmox: LabProxmox,
        zones: Sequence[Zone],
        registrations: Registrations,
        edge: Edge,
        *,
        bridge: HttpService,
        routes: Routes,
        traefik: Traefik,
        faults: Faults,
        history: History,
    ) -> None:
        self._proxmox = proxmox
        self._zones = zones
        self._registrations = registrations
        self._edge = edge
        self._bridge = bridge
        self._routes = routes
        self._traefik = traefik
        self._faults = faults
        self._history = history

    def application(self) -> web.Application:
        app = web.Application(middlewares=[_problems])
        app.router.add_get("/inventory", self._inventory)
        app.router.add_get("/history", self._what_happened)
        app.router.add_post("/faults", self._inject)
        app.router.add_delete("/faults", self._clear)
        app.router.add_put("/speed", self._speed)
        app.router.add_post("/containers", self._place_foreign)
        app.router.add_post("/proxmox/restart", self._restart_proxmox)
        app.router.add_post("/proxy/restart", self._restart_proxy)
        app.router.add_post("/proxy/away", self._proxy_away)
        return app

    async def _inventory(self, request: web.Request) -> web.Response:
        await self._traefik.look()
        inventory = {
            "containers": self._proxmox.containers(),
            "records": [record for zone in self._zones for record in zone.inventory()],
            "registrations": [asdict(backend) for backend in self._registrations.all()],
            "routes": self._routes.inventory(),
            **self._traefik.inventory(),
            "processes": self._proxmox.processes(),
        }
        return web.json_response(inventory)

    async def _what_happened(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        if not after.isascii() or not after.isdigit():
            raise InputError("after", "must be the number of an event")
        return web.json_response({"events": self._history.after(int(after))})

    async def _inject(self, request: web.Request) -> web.Response:
        fault = await json_object(request)
        target = fault.get("target")
        if target not in ("proxmox", "agent", *FIELDS):
            raise InputError("target", f"must be one of proxmox, agent, {', '.join(FIELDS)}")
        if target in FIELDS:
            self._faults.inject(fault)
        else:
            _check_guest_fault(fault)
            self._proxmox.inject(fault)
        return web.json_response(fault, status=201)

    async def _clear(self, request: web.Request) -> web.Response:
        self._faults.clear()
        self._proxmox.clear_faults()
        return web.Response(status=204)

    async def _speed(self, request: web.Request) -> web.Response:
        speed = (await json_object(request)).get("speed")
        if not isinstance(speed, int | float) or isinstance(speed, bool) or not 0 <= speed <= 1000:
            raise InputError("speed", "must be a number from 0 to 1000")
        self._proxmox.set_speed(float(speed))
        return web.json_response({"speed": speed})

    async def _place_foreign(self, request: web.Request) -> web.Response:
        body = await json_object(request)
        vmid, hostname = body.get("vmid"), body.get("hostname")
        # Proxmox's own range of VMIDs.
        if not isinstance(vmid, int) or isinstance(vmid, bool) or not 100 <= vmid <= 999_999_999:
            raise InputError("vmid", "must be a whole number from 100 to 999999999")
        if not isinstance(hostname, str) or not HOSTNAME.fullmatch(hostname):
            raise InputError("hostname", "must be a short host name")
        if any(container["vmid"] == vmid for container in self._proxmox.containers()):
            return _problem(409, "vmid", f"a container {vmid} exists already")
        self._proxmox.place_foreign(vmid, hostname)
        return web.json_response({"vmid": vmid, "hostname": hostname}, status=201)

    async def _restart_proxmox(self, request: web.Request) -> web.Response:
        seconds = await _seconds(request)
        await self._proxmox.restart(seconds)
        return web.json_response({"seconds": seconds})

    async def _proxy_away(self, request: web.Request) -> web.Response:
        """Only the API that registers: players still get through."""
        seconds = await _seconds(request)
        await self._bridge.leave(seconds)
        return web.json_response({"seconds": seconds})

    async def _restart_proxy(self, request: web.Request) -> web.Response:
        await self._edge.restart()
        return web.json_response({"registrations": []})


async def _seconds(request: web.Request) -> float:
    seconds = (await json_object(request)).get("seconds")
    accepts, expectation = SECONDS
    if not accepts(seconds):
        raise InputError("seconds", expectation)
    return float(str(seconds))


def _check_guest_fault(fault: dict[str, Any]) -> None:
    """The fields that Proxmox and agent faults always have; the rest is for their own code."""
    times, vmid = fault.get("times"), fault.get("vmid")
    if times is not None and (not isinstance(times, int) or isinstance(times, bool) or times < 1):
        raise InputError("times", "must be a whole number of at least 1")
    if vmid is not None and (not isinstance(vmid, int) or isinstance(vmid, bool)):
        raise InputError("vmid", "must be a whole number")
    if fault["target"] == "agent" and fault.get("behaviour") not in AGENT_BEHAVIOURS:
        raise InputError("behaviour", f"must be one of {', '.join(AGENT_BEHAVIOURS)}")
    for name in ("seconds", "back"):
        if name in fault and not SECONDS[0](fault[name]):
            raise InputError(name, SECONDS[1])
    if fault.get("error") == "delay" and "seconds" not in fault:
        raise InputError("seconds", SECONDS[1])
    if fault["target"] == "proxmox" and not fault.keys() & {"status", "error"}:
        raise InputError("status", "a fault for proxmox needs status or error")


def _problem(status: int, field: str, message: str) -> web.Response:
    return web.json_response({"error": f"{field}: {message}", "field": field}, status=status)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except InputError as error:
        return _problem(400, error.field, error.message)
    except ValueError as error:
        return _problem(400, "body", str(error))
