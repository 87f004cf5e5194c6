"""The whole data centre: it starts the servers of the lab and stops them again."""

import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiohttp import web

from orchestrator.lab.addresses import (
    CLOUDFLARE_PORT,
    DNS_PORT,
    EDGE_PORT,
    MC_ROUTER_PORT,
    PROXMOX_PORT,
    TECHNITIUM_PORT,
    VELOCITY_PORT,
    claim_block,
)
from orchestrator.lab.control import Control, Services
from orchestrator.lab.edge import mcrouter
from orchestrator.lab.edge.registrations import Registrations
from orchestrator.lab.edge.router import PlayerRouter
from orchestrator.lab.edge.traefik import Traefik
from orchestrator.lab.edge.velocity import Bridge
from orchestrator.lab.faults import Faults
from orchestrator.lab.files import load_or_make_secrets, lock_directory, read_json, write_json
from orchestrator.lab.guests.driver import GuestDriver
from orchestrator.lab.guests.lxc.guests import LxcGuests
from orchestrator.lab.guests.processes import ProcessGuests
from orchestrator.lab.history import History
from orchestrator.lab.names import cloudflare, technitium
from orchestrator.lab.names.name_server import NameServer
from orchestrator.lab.names.zones import Record, Zone
from orchestrator.lab.proxmox.node import LabProxmox
from orchestrator.lab.servers.certificates import issue_certificate
from orchestrator.lab.servers.http import HttpService, serve_http
from orchestrator.lab.servers.sockets import bind_tcp
from orchestrator.lab.site import INTERNAL_ZONE, PUBLIC_ZONE, ZONE_ID, describe_services, describe_site


@dataclass(frozen=True)
class Options:
    """How to run the lab: `speed` multiplies durations, and without a `block` a free one is taken."""

    state_dir: Path
    speed: float = 1.0
    block: int | None = None
    callback_url: str | None = None
    guests: Literal["process", "lxc"] = "process"


class Common:
    """What the servers of the lab share. The stack closes what listens, the last opened first."""

    def __init__(self, options: Options, directory: Path, stack: AsyncExitStack) -> None:
        self.options = options
        self.directory = directory
        self.stack = stack
        self.traefik_directory = directory / "traefik"
        self.faults = Faults()
        self.history = History()
        self.registrations = Registrations(self.history)
        self.secrets = load_or_make_secrets(directory / "secrets.json")
        saved = read_json(directory / "records.json")
        self.addresses, self.control_socket = claim_block(
            options.state_dir, block=options.block, last_used=saved.get("block")
        )
        stack.callback(self.control_socket.close)
        internal = Zone(INTERNAL_ZONE, view="internal", address=self.addresses.internal_dns)
        public = Zone(PUBLIC_ZONE, view="public", address=self.addresses.public_dns)
        self.zones = (internal, public)
        for zone in self.zones:
            zone.load(saved.get(zone.view, {}))
            zone.on_change = self.save
            zone.on_record = self._make_recorder(zone.view)
        self.save()

    @property
    def edges(self) -> tuple[str, str]:
        """The addresses that players connect to."""
        return self.addresses.public_edge, self.addresses.internal_edge

    async def serve(
        self, app: web.Application, address: str, port: int, tls_context: ssl.SSLContext | None = None
    ) -> None:
        """Serve an application until the lab ends. Raises LabError when the address is taken."""
        runner = await serve_http(app, bind_tcp(address, port), tls_context)
        self.stack.push_async_callback(runner.cleanup)

    def save(self) -> None:
        """Write the records and the block, so that the next lab of this directory finds both again."""
        state = {zone.view: zone.dump() for zone in self.zones}
        write_json(self.directory / "records.json", {"block": self.addresses.block, **state})

    def _make_recorder(self, view: str) -> Callable[[str, Record], None]:
        def record_change(action: str, record: Record) -> None:
            facts = {"name": record.name, "type": record.type, "value": record.value}
            self.history.add("dns", action=action, view=view, **facts)

        return record_change


@asynccontextmanager
async def run_data_centre(options: Options) -> AsyncIterator[dict[str, str]]:
    """Run everything; gives the content of lab.json. Raises LabError when it cannot start."""
    async with AsyncExitStack() as stack:
        directory, lock = lock_directory(options.state_dir)
        stack.callback(os.close, lock)
        lab_file = directory / "lab.json"
        lab_file.unlink(missing_ok=True)
        common = Common(options, directory, stack)
        at = common.addresses
        files = issue_certificate(directory, (at.proxmox, at.technitium, at.cloudflare))
        control = Control(await _start_services(common, files.make_context()))
        runner = await serve_http(control.make_application(), common.control_socket)
        stack.push_async_callback(runner.cleanup)
        site_file = directory / "site.json"
        write_json(site_file, describe_site(at, files.ca, common.traefik_directory))
        # Without it a playbook that is run by hand says that no lab runs, where it would wait for addresses in vain.
        stack.callback(site_file.unlink, missing_ok=True)
        services = describe_services(at)
        write_json(lab_file, services)
        stack.callback(lab_file.unlink, missing_ok=True)
        yield services


async def _start_services(common: Common, tls_context: ssl.SSLContext) -> Services:
    await _start_names(common, tls_context)
    player_router, bridge = await _start_proxy(common)
    return Services(
        zones=common.zones,
        registrations=common.registrations,
        player_router=player_router,
        bridge=bridge,
        routes=await _start_mc_router(common),
        traefik=await _start_traefik(common),
        proxmox=await _start_proxmox(common, tls_context),
        faults=common.faults,
        history=common.history,
    )


async def _start_names(common: Common, tls_context: ssl.SSLContext) -> None:
    """Start a name server for each view, and the APIs that change the records."""
    secrets, (internal, public) = common.secrets, common.zones
    for zone in common.zones:
        server = NameServer(zone, DNS_PORT, key=secrets["rfc2136_key"], faults=common.faults)
        await server.start()
        common.stack.push_async_callback(server.close)
    technitium_api = technitium.make_application(
        internal,
        token=secrets["technitium_token"],
        readonly_token=secrets["technitium_readonly_token"],
        faults=common.faults,
    )
    await common.serve(technitium_api, common.addresses.technitium, TECHNITIUM_PORT, tls_context)
    cloudflare_api = cloudflare.make_application(
        public,
        zone_id=ZONE_ID,
        token=secrets["cloudflare_token"],
        readonly_token=secrets["cloudflare_readonly_token"],
        faults=common.faults,
    )
    await common.serve(cloudflare_api, common.addresses.cloudflare, CLOUDFLARE_PORT, tls_context)


async def _start_proxy(common: Common) -> tuple[PlayerRouter, HttpService]:
    """Start the proxy that players connect to, and the API of its bridge."""
    bridge = Bridge(
        common.registrations,
        secret=common.secrets["velocity_secret"],
        callback_url=common.options.callback_url,
        faults=common.faults,
    )
    service = HttpService(bridge.make_application, common.addresses.velocity, VELOCITY_PORT)
    await service.start()
    common.stack.push_async_callback(service.close)
    common.stack.push_async_callback(bridge.close)
    player_router = PlayerRouter(common.registrations, common.edges, EDGE_PORT)
    common.stack.push_async_callback(player_router.close)
    await player_router.start()
    return player_router, service


async def _start_mc_router(common: Common) -> mcrouter.Routes:
    """Start the API of the mc-router, and the port that its players connect to."""
    routes, address = mcrouter.Routes(), common.addresses.mc_router
    token = common.secrets["mc_router_token"]
    application = mcrouter.make_application(routes, token=token, faults=common.faults)
    await common.serve(application, address, MC_ROUTER_PORT)
    player_router = PlayerRouter(routes, (address,), EDGE_PORT)
    common.stack.push_async_callback(player_router.close)
    await player_router.start()
    return routes


async def _start_traefik(common: Common) -> Traefik:
    traefik = Traefik(common.traefik_directory, common.edges)
    common.stack.push_async_callback(traefik.close)
    await traefik.start()
    return traefik


async def _start_proxmox(common: Common, tls_context: ssl.SSLContext) -> LabProxmox:
    driver = LxcGuests if common.options.guests == "lxc" else ProcessGuests
    guests: GuestDriver = driver(
        common.directory,
        common.addresses.block,
        speed=common.options.speed,
        agent_token=common.secrets["agent_token"],
        history=common.history,
    )
    proxmox = LabProxmox(
        host=common.addresses.proxmox,
        port=PROXMOX_PORT,
        root=common.directory,
        guests=guests,
        speed=common.options.speed,
        token=common.secrets["proxmox_token"],
        history=common.history,
    )
    common.stack.push_async_callback(proxmox.close)
    await proxmox.restore()
    await proxmox.start(tls_context)
    return proxmox
