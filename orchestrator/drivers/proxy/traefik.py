"""Traefik's file provider: one file an instance, which leads an entry point of its own to the game.

Without TLS nothing in a TCP connection or a datagram names a host, so an entry point serves one instance.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.domain.publications import Publication
from orchestrator.drivers import lease
from orchestrator.drivers.dns.records import LABEL
from orchestrator.drivers.proxy.base import Backend, Proxy, ProxyDriver, Registration
from orchestrator.drivers.remote import HostError
from orchestrator.drivers.result import PhaseError

DRIVER = "traefik"
MODULE = "traefik_file"
RETRY_DELAY = 0.5


class TraefikFiles(ProxyDriver):
    NEEDS = ("host", "directory")

    @staticmethod
    def publications(proxy: Proxy, wanted: Registration) -> list[Publication]:
        return [Publication(proxy.driver, f"{proxy.host}:{proxy.directory}", "file", wanted.name, wanted.value)]

    def backends(self) -> list[Backend]:
        files: Mapping[str, Any] = self._call(state="listed")["files"]
        return [one for name, content in files.items() for one in backends_in(name, content)]

    def _ensure(self, wanted: Registration, *, check: bool) -> bool:
        del check  # the module is told by Ansible
        return self._change(wanted.name, wanted.server_id, state="present", configuration=self._configuration(wanted))

    def _remove(self, publications: Sequence[Publication], server_id: str, *, check: bool) -> bool:
        del check
        names = sorted({one.name for one in publications})
        return True in [self._change(name, server_id, state="absent") for name in names]

    def routes(self, wanted: Registration, backends: Sequence[Backend]) -> bool:
        ours = [one for one in backends if one.name == wanted.name]
        return ours == [Backend(wanted.name, wanted.address, wanted.port)]

    def _configuration(self, wanted: Registration) -> dict[str, Any]:
        entry_point = self.proxy.entry_point.format(protocol=wanted.protocol, port=wanted.public_port)
        return configuration(wanted, entry_point)

    def _change(self, name: str, server_id: str, **arguments: Any) -> bool:
        if not LABEL.fullmatch(name):
            raise PhaseError(Code.INTERNAL, f"host name {name!r} is not one lower-case DNS label, so it names no file")
        return bool(self._call(name=name, instance=server_id, **arguments)["changed"])

    def _call(self, **arguments: Any) -> dict[str, Any]:
        result = self._reach({"directory": self.proxy.directory, **arguments})
        if result.get("failed"):
            raise self.proxy.failure(str(result.get("msg", "the module failed without a word")))
        return result

    def _reach(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The module's result; a host that is away is tried again until the timeout."""
        deadline = time.monotonic() + self.timeout
        while True:
            if arguments["state"] != "listed":
                lease.require()
            try:
                return self.run(MODULE, arguments)
            except HostError as error:
                if not error.passing:
                    remedy = f"check user, key and variables of host {self.proxy.host} in the inventory"
                    raise self.proxy.failure(str(error), remedy) from None
                if time.monotonic() + RETRY_DELAY >= deadline:
                    remedy = f"is host {self.proxy.host} running and its address right?"
                    raise self.proxy.failure(str(error), remedy) from None
            time.sleep(RETRY_DELAY)


def place_of(publication: Publication) -> tuple[str, str]:
    """The host and the directory on it that a file was published to."""
    host, _, directory = publication.place.partition(":")
    return host, directory


def is_on(publication: Publication, host: str) -> bool:
    """Whether it is a file on this host."""
    return publication.driver == DRIVER and place_of(publication)[0] == host


def configuration(wanted: Registration, entry_point: str) -> dict[str, Any]:
    """The dynamic configuration of one instance, by Traefik's names."""
    router: dict[str, Any] = {"entryPoints": [entry_point], "service": wanted.name}
    if wanted.protocol == "tcp":
        router["rule"] = "HostSNI(`*`)"
    service = {"loadBalancer": {"servers": [{"address": f"{wanted.address}:{wanted.port}"}]}}
    return {wanted.protocol: {"routers": {wanted.name: router}, "services": {wanted.name: service}}}


def backends_in(name: str, content: Mapping[str, Any]) -> list[Backend]:
    """The backends that a file of ours names; none when somebody broke it."""
    found = []
    try:
        for section in (content[protocol] for protocol in ("tcp", "udp") if protocol in content):
            for service in section["services"].values():
                for server in service["loadBalancer"]["servers"]:
                    address, _, port = server["address"].rpartition(":")
                    found.append(Backend(name, address, int(port)))
    except (LookupError, TypeError, ValueError, AttributeError):
        return []
    return found
