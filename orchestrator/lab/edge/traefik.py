"""A stand-in for Traefik: reads its file provider's directory and passes TCP and UDP on, for real.

As the original it takes the files as one configuration: while one of them is wrong, nothing of a change counts. Unlike
it, it looks instead of being told of changes, and opens an entry point when a router first names it: a socket for every
VMID would be more than a process may have.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from orchestrator.lab.edge.router import pass_on
from orchestrator.lab.edge.udp import UdpForwarder
from orchestrator.lab.errors import LabError
from orchestrator.lab.listen import StreamServer

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.05
ENTRY_POINT = re.compile(r"(tcp|udp)-(\d{1,5})")
ANY_HOST = "HostSNI(`*`)"
SUFFIXES = (".yml", ".yaml")


class ConfigurationError(Exception):
    """What is wrong with a file."""


@dataclass(frozen=True)
class Route:
    """A router of a file with its service's server."""

    protocol: str
    name: str
    entry_point: str
    address: str
    port: int


Routes = Mapping[str, Route]
"""Entry point to the route that it leads to."""


def read_files(directory: Path) -> Routes:
    """The configuration of all files together. Raises ConfigurationError for the first that is wrong."""
    routes: dict[str, Route] = {}
    for path in _files(directory):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            found = list(_routes(content if content is not None else {}))
        except FileNotFoundError:
            continue  # gone since it was listed
        except (ConfigurationError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path.name}: {error}") from None
        for route in found:
            # Without a rule that tells clients apart the first router of an entry point has them all.
            first = routes.setdefault(route.entry_point, route)
            if first is not route:
                log.warning("%s has no clients: %s is first at %s", route.name, first.name, route.entry_point)
    return routes


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def _routes(content: Any) -> Iterator[Route]:
    _only(content, {"tcp", "udp"}, "the file")
    for protocol, section in content.items():
        _only(section, {"routers", "services"}, protocol)
        services = {
            name: _server(service, f"{protocol}.services.{name}")
            for name, service in section.get("services", {}).items()
        }
        for name, router in section.get("routers", {}).items():
            yield from _routes_of(protocol, str(name), router, services)


def _routes_of(protocol: str, name: str, router: Any, services: Mapping[str, tuple[str, int]]) -> Iterator[Route]:
    where = f"{protocol}.routers.{name}"
    _only(router, {"entryPoints", "service", *(("rule",) if protocol == "tcp" else ())}, where)
    if protocol == "tcp" and router.get("rule") != ANY_HOST:
        raise ConfigurationError(f"{where}.rule: without TLS it can only be {ANY_HOST}")
    if router.get("service") not in services:
        log.warning("%s leads nowhere: there is no service %s", where, router.get("service"))
        return
    for entry_point in router.get("entryPoints", []):
        known = ENTRY_POINT.fullmatch(str(entry_point))
        if known is None or known[1] != protocol or not 0 < int(known[2]) < 65536:
            log.warning("%s names an entry point %s that does not exist", where, entry_point)
            continue
        yield Route(protocol, name, str(entry_point), *services[router["service"]])


def _server(service: Any, where: str) -> tuple[str, int]:
    """Address and port of the first server: the lab balances no load."""
    _only(service, {"loadBalancer"}, where)
    balancer = service.get("loadBalancer")
    _only(balancer, {"servers"}, f"{where}.loadBalancer")
    servers = balancer.get("servers")
    if not isinstance(servers, list) or not servers:
        raise ConfigurationError(f"{where}.loadBalancer.servers: is no list of servers")
    _only(servers[0], {"address"}, f"{where}.loadBalancer.servers")
    address, _, port = str(servers[0].get("address", "")).rpartition(":")
    if not address or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigurationError(f"{where}: address must be HOST:PORT")
    return address, int(port)


def _only(value: Any, known: set[str], where: str) -> None:
    """Traefik refuses a file with a member that it does not know."""
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where}: is no mapping")
    if unknown := sorted(str(name) for name in value if name not in known):
        raise ConfigurationError(f"{where}: field not found: {unknown[0]}")


class Traefik:
    """Entry points at every address, led by the files."""

    def __init__(self, directory: Path, addresses: Sequence[str]) -> None:
        self._directory = directory
        self._addresses = addresses
        self._routes: Routes = {}
        self._error: str | None = None
        self._seen: object = None
        self._opened: set[str] = set()
        self._listening = contextlib.AsyncExitStack()
        self._lock = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        await self.look()
        self._looking = asyncio.create_task(self._keep_looking())

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._listening.aclose()

    async def look(self) -> None:
        """Take over what the files say now, if they changed; returns when players can come."""
        async with self._lock:
            await self._take_over()

    async def _take_over(self) -> None:
        seen = [(path.name, _identity(path)) for path in _files(self._directory)]
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._routes, self._error = read_files(self._directory), None
        except ConfigurationError as error:
            self._error = str(error)
            log.error("the files are not taken over: %s", error)  # noqa: TRY400 - the sentence says it all
        for entry_point, route in self._routes.items():
            if entry_point not in self._opened:
                self._opened.add(entry_point)
                await self._listen(entry_point, route.protocol)

    def inventory(self) -> dict[str, list[dict[str, Any]]]:
        """The routes in force, and what is wrong with the files."""
        errors = [] if self._error is None else [{"message": self._error}]
        routes = [asdict(route) for _, route in sorted(self._routes.items())]
        return {"entryPoints": routes, "traefikErrors": errors}

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def _listen(self, entry_point: str, protocol: str) -> None:
        try:
            await self._bind(entry_point, protocol, int(entry_point.rpartition("-")[2]))
        except LabError as error:
            self._error = str(error)
            log.error("entry point %s is closed: %s", entry_point, error)  # noqa: TRY400 - as above

    async def _bind(self, entry_point: str, protocol: str, port: int) -> None:
        server = StreamServer(lambda reader, writer: self._serve(entry_point, reader, writer))
        self._listening.push_async_callback(server.close)
        for address in self._addresses:
            if protocol == "tcp":
                await server.listen(address, port)
            else:
                forwarder = UdpForwarder(lambda: self._target(entry_point))
                self._listening.callback(forwarder.close)
                await forwarder.listen(address, port)

    def _target(self, entry_point: str) -> tuple[str, int] | None:
        route = self._routes.get(entry_point)
        return None if route is None else (route.address, route.port)

    async def _serve(self, entry_point: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = self._target(entry_point)
        if target is not None:
            await pass_on(target, b"", reader, writer)


def _identity(path: Path) -> object:
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size
    return None
