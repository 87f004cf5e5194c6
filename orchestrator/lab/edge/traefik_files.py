"""The files of Traefik's file provider: what the lab's Traefik takes from them, and what it refuses."""

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

log = logging.getLogger(__name__)

ENTRY_POINT = re.compile(r"(tcp|udp)-(\d{1,5})")
ANY_HOST = "HostSNI(`*`)"
SUFFIXES = (".yml", ".yaml")


class ConfigurationError(Exception):
    """A file is wrong; the text says which one and why."""


@dataclass(frozen=True)
class Route:
    """A router of a file, with the server of its service."""

    protocol: str
    name: str
    entry_point: str
    address: str
    port: int


Routes = Mapping[str, Route]
"""Entry point → the route that it leads to."""


def read_files(directory: Path) -> Routes:
    """The configuration of all files together. Raises ConfigurationError for the first file that is wrong."""
    routes: dict[str, Route] = {}
    for path in _list_files(directory):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            found = list(_read_routes(content if content is not None else {}))
        except FileNotFoundError:
            continue  # it was removed after it was listed
        except (ConfigurationError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path.name}: {error}") from None
        for route in found:
            # Without a rule that tells clients apart, the first router of an entry point gets all of them.
            first = routes.setdefault(route.entry_point, route)
            if first is not route:
                log.warning("%s gets no clients: %s comes first at %s", route.name, first.name, route.entry_point)
    return routes


def fingerprint(directory: Path) -> object:
    """A value that changes whenever one of the files does."""
    return [(path.name, _identity(path)) for path in _list_files(directory)]


def _identity(path: Path) -> object:
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size
    return None


def _list_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def _read_routes(content: Any) -> Iterator[Route]:
    """The routes of one file."""
    _require_known(content, {"tcp", "udp"}, "the file")
    for protocol, section in content.items():
        _require_known(section, {"routers", "services"}, protocol)
        services = {
            str(name): _read_server(service, f"{protocol}.services.{name}")
            for name, service in _get_mapping(section, "services", protocol).items()
        }
        for name, router in _get_mapping(section, "routers", protocol).items():
            yield from _read_router(protocol, str(name), router, services)


def _read_router(protocol: str, name: str, router: Any, services: Mapping[str, tuple[str, int]]) -> Iterator[Route]:
    """A route for each entry point of a router."""
    where = f"{protocol}.routers.{name}"
    _require_known(router, {"entryPoints", "service", *(("rule",) if protocol == "tcp" else ())}, where)
    if protocol == "tcp" and router.get("rule") != ANY_HOST:
        raise ConfigurationError(f"{where}.rule: without TLS it can only be {ANY_HOST}")
    if str(router.get("service")) not in services:
        log.warning("%s leads nowhere: there is no service %s", where, router.get("service"))
        return
    entry_points = router.get("entryPoints", [])
    if not isinstance(entry_points, list):
        raise ConfigurationError(f"{where}.entryPoints: is no list")
    for entry_point in entry_points:
        known = ENTRY_POINT.fullmatch(str(entry_point))
        if known is None or known[1] != protocol or not 0 < int(known[2]) < 65536:
            log.warning("%s names an entry point %s that does not exist", where, entry_point)
            continue
        yield Route(protocol, name, str(entry_point), *services[str(router["service"])])


def _read_server(service: Any, where: str) -> tuple[str, int]:
    """Address and port of a service's first server; the lab balances no load."""
    _require_known(service, {"loadBalancer"}, where)
    balancer = service.get("loadBalancer")
    _require_known(balancer, {"servers"}, f"{where}.loadBalancer")
    servers = balancer.get("servers")
    if not isinstance(servers, list) or not servers:
        raise ConfigurationError(f"{where}.loadBalancer.servers: is no list of servers")
    _require_known(servers[0], {"address"}, f"{where}.loadBalancer.servers")
    address, _, port = str(servers[0].get("address", "")).rpartition(":")
    if not address or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigurationError(f"{where}: address must be HOST:PORT")
    return address, int(port)


def _get_mapping(section: dict[str, Any], name: str, where: str) -> dict[Any, Any]:
    found = section.get(name, {})
    if not isinstance(found, dict):
        raise ConfigurationError(f"{where}.{name}: is no mapping")
    return found


def _require_known(value: Any, known: set[str], where: str) -> None:
    """Refuse a member that is not known, as Traefik does. Raises ConfigurationError."""
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where}: is no mapping")
    if unknown := sorted(str(name) for name in value if name not in known):
        raise ConfigurationError(f"{where}: field not found: {unknown[0]}")
