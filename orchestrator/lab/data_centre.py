"""The whole data centre: puts the parts together and takes them apart again."""

import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiohttp import web

from orchestrator.lab import description, tls
from orchestrator.lab.addresses import (
    CLOUDFLARE_PORT,
    DNS_PORT,
    EDGE_PORT,
    MC_ROUTER_PORT,
    PROXMOX_PORT,
    TECHNITIUM_PORT,
    VELOCITY_PORT,
    Addresses,
    claim,
)
from orchestrator.lab.control import Control
from orchestrator.lab.edge import mcrouter
from orchestrator.lab.edge.registrations import Registrations
from orchestrator.lab.edge.router import Edge
from orchestrator.lab.edge.traefik import Traefik
from orchestrator.lab.edge.velocity import Bridge
from orchestrator.lab.faults import Faults
from orchestrator.lab.files import load_secrets, open_directory, read_json, write_json
from orchestrator.lab.guests.containers import LxcGuests
from orchestrator.lab.guests.driver import GuestDriver
from orchestrator.lab.guests.processes import ProcessGuests
from orchestrator.lab.history import History
from orchestrator.lab.listen import HttpService, bind_tcp, serve_http
from orchestrator.lab.names import cloudflare, technitium
from orchestrator.lab.names.server import NameServer
from orchestrator.lab.names.zones import Record, Zone
from orchestrator.lab.proxmox.server import LabProxmox


@dataclass(frozen=True)
class Options:
    """How to run the lab: `speed` multiplies durations, `block` None means a free one."""

    state_dir: Path
    speed: float = 1.0
    block: int | None = None
    callback_url: str | None = None
    guests: Literal["process", "lxc"] = "process"


class Parts:
    """What the servers share; everything that listens is closed by the stack, last opened first."""

    def __init__(self, options: Options, directory: Path, stack: AsyncExitStack) -> None:
        self.options = options
        self.directory = directory
        self.stack = stack
        self.traefik_directory = directory / "traefik"
        self.faults = Faults()
        self.history = History()
        self.registrations = Registrations(self.history)
        self.secrets = load_secrets(directory / "secrets.json")
        saved = read_json(directory / "records.json")
        self.addresses, self.control_socket = claim(
            options.state_dir, block=options.block, last_used=saved.get("block")
        )
        stack.callback(self.control_socket.close)
        internal = Zone(description.INTERNAL_ZONE, view="internal", address=self.addresses.internal_dns)
        public = Zone(description.PUBLIC_ZONE, view="public", address=self.addresses.public_dns)
        self.zones = (internal, public)
        for zone in self.zones:
            zone.load(saved.get(zone.view, {}))
            zone.changed = self.save
            zone.recorded = self._recorder(zone.view)
        self.save()

    def _recorder(self, view: str) -> Callable[[str, Record], None]:
        def record_it(action: str, record: Record) -> None:
            facts = {"name": record.name, "type": record.type, "value": record.value}
            self.history.add("dns", action=action, view=view, **facts)

        return record_it

    def save(self) -> None:
        """Writes the records and the block, so that a new start of this directory finds both again."""
        state = {zone.view: zone.dump() for zone in self.zones}
        write_json(self.directory / "records.json", {"block": self.addresses.block, **state})


@asynccontextmanager
async def data_centre(options: Options) -> AsyncIterator[dict[str, str]]:
    """Runs everything; gives the content of lab.json. Raises LabError when it cannot start."""
    async with AsyncExitStack() as stack:
        directory, lock = open_directory(options.state_dir)
        stack.callback(os.close, lock)
        lab_file = directory / "lab.json"
        lab_file.unlink(missing_ok=True)
        parts = Parts(options, directory, stack)
        files = tls.issue(directory, _with_tls(parts.addresses))
        await _start_names(parts, files.server_context())
        edge, bridge = await _start_proxy(parts)
        routes = await _start_mc_router(parts)
        traefik = await _start_traefik(parts)
        proxmox = await _start_proxmox(parts, files)
        control = Control(
            proxmox,
            parts.zones,
            parts.registrations,
            edge,
            bridge=bridge,
            routes=routes,
            traefik=traefik,
            faults=parts.faults,
            history=parts.history,
        )
        runner = await serve_http(control.application(), parts.control_socket)
        stack.push_async_callback(runner.cleanup)
        site_file = directory / "site.json"
        write_json(site_file, description.site(parts.addresses, files.ca, parts.traefik_directory))
        # Without a running lab a playbook by hand shall say so, not wait for addresses that nobody has.
        stack.callback(site_file.unlink, missing_ok=True)
        lab = description.lab(parts.addresses)
        write_json(lab_file, lab)
        stack.callback(lab_file.unlink, missing_ok=True)
        yield lab


def _with_tls(addresses: Addresses) -> tuple[str, str, str]:
    return addresses.proxmox, addresses.technitium, addresses.cloudflare


async def _serve(
    parts: Parts, app: web.Application, address: str, port: int, tls_context: ssl.SSLContext | None = None
) -> None:
    runner = await serve_http(app, bind_tcp(address, port), tls_context)
    parts.stack.push_async_callback(runner.cleanup)


async def _start_names(parts: Parts, context: ssl.SSLContext) -> None:
    """Both DNS views and the two APIs that change them."""
    secrets, (internal, public) = parts.secrets, parts.zones
    for zone in parts.zones:
        server = NameServer(zone, DNS_PORT, key=secrets["rfc2136_key"], faults=parts.faults)
        await server.start()
        parts.stack.push_async_callback(server.close)
    technitium_api = technitium.application(
        internal,
        token=secrets["technitium_token"],
        readonly_token=secrets["technitium_readonly_token"],
        faults=parts.faults,
    )
    await _serve(parts, technitium_api, parts.addresses.technitium, TECHNITIUM_PORT, context)
    cloudflare_api = cloudflare.application(
        public,
        zone_id=description.ZONE_ID,
        token=secrets["cloudflare_token"],
        readonly_token=secrets["cloudflare_readonly_token"],
        faults=parts.faults,
    )
    await _serve(parts, cloudflare_api, parts.addresses.cloudflare, CLOUDFLARE_PORT, context)


async def _start_proxy(parts: Parts) -> tuple[Edge, HttpService]:
    """Where players connect, and the bridge's API."""
    bridge = Bridge(
        parts.registrations,
        secret=parts.secrets["velocity_secret"],
        callback_url=parts.options.callback_url,
        faults=parts.faults,
    )
    service = HttpService(bridge.application, parts.addresses.velocity, VELOCITY_PORT)
    await service.start()
    parts.stack.push_async_callback(service.close)
    parts.stack.push_async_callback(bridge.close)
    edge = Edge(parts.registrations, (parts.addresses.public_edge, parts.addresses.internal_edge), EDGE_PORT)
    parts.stack.push_async_callback(edge.close)
    await edge.start()
    return edge, service


async def _start_mc_router(parts: Parts) -> mcrouter.Routes:
    """The other router by host name: its API, and where its players connect."""
    routes, address = mcrouter.Routes(), parts.addresses.mc_router
    application = mcrouter.application(routes, token=parts.secrets["mc_router_token"])
    await _serve(parts, application, address, MC_ROUTER_PORT)
    edge = Edge(routes, (address,), EDGE_PORT)
    parts.stack.push_async_callback(edge.close)
    await edge.start()
    return routes


async def _start_traefik(parts: Parts) -> Traefik:
    traefik = Traefik(parts.traefik_directory, (parts.addresses.public_edge, parts.addresses.internal_edge))
    parts.stack.push_async_callback(traefik.close)
    await traefik.start()
    return traefik


async def _start_proxmox(parts: Parts, files: tls.ServerFiles) -> LabProxmox:
    driver = LxcGuests if parts.options.guests == "lxc" else ProcessGuests
    guests: GuestDriver = driver(
        parts.directory,
        parts.addresses.block,
        speed=parts.options.speed,
        agent_token=parts.secrets["agent_token"],
        history=parts.history,
    )
    proxmox = LabProxmox(
        host=parts.addresses.proxmox,
        port=PROXMOX_PORT,
        root=parts.directory,
        guests=guests,
        speed=parts.options.speed,
        token=parts.secrets["proxmox_token"],
        history=parts.history,
    )
    parts.stack.push_async_callback(proxmox.close)
    await proxmox.restore()
    await proxmox.start(str(files.certificate), str(files.key))
    return proxmox
