"""mc-router: routes by full host name over an API without authentication, which belongs on loopback."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from orchestrator.domain.publications import Publication
from orchestrator.drivers.httpjson import HttpJson
from orchestrator.drivers.proxy.base import Backend, Proxy, Registration
from orchestrator.drivers.proxy.http import PLACE, HttpProxyDriver
from orchestrator.drivers.remote import RunModule


class McRouter(HttpProxyDriver):
    NEEDS = ("url",)

    def __init__(self, proxy: Proxy, *, secret: str, run: RunModule, timeout: float, quiet: float = math.inf) -> None:
        super().__init__(proxy, secret=secret, run=run, timeout=timeout, quiet=quiet)
        # It asks for no token itself, but a front of it may.
        self.http = HttpJson(ca_file=proxy.ca_file, bearer=secret, timeout=timeout, quiet=quiet)

    @staticmethod
    def publications(proxy: Proxy, wanted: Registration) -> list[Publication]:
        return [Publication(proxy.driver, PLACE, "route", host, wanted.value) for host in wanted.hostnames]

    def backends(self) -> list[Backend]:
        reply = self.request("GET", "/routes")
        if not reply.ok or not isinstance(reply.body, dict):
            raise self.refused(reply)
        return [_backend(host, route) for host, route in reply.body.items()]

    def _ensure(self, wanted: Registration, *, check: bool) -> bool:
        there = self.backends()
        missing = [route for route in _routes(wanted) if route not in there]
        if not check:
            for route in missing:
                self._post(route)
        return bool(missing)

    def _remove(self, publications: Sequence[Publication], server_id: str, *, check: bool) -> bool:
        del server_id  # the router keeps no mark
        ours = {one.name for one in self.backends() if any(one.is_as_published(each) for each in publications)}
        if not check:
            for host in sorted(ours):
                self._delete(host)
        return bool(ours)

    def routes(self, wanted: Registration, backends: Sequence[Backend]) -> bool:
        return set(_routes(wanted)) <= set(backends)

    def _post(self, route: Backend) -> None:
        body = {"serverAddress": route.name, "backend": f"{route.address}:{route.port}"}
        reply = self.request("POST", "/routes", body=body)
        if not reply.ok:
            raise self.refused(reply)

    def _delete(self, host: str) -> None:
        reply = self.request("DELETE", f"/routes/{quote(host, safe='')}")
        if not reply.ok and reply.status != 404:
            raise self.refused(reply)


def _routes(wanted: Registration) -> list[Backend]:
    """One for each full host name. The same short name in another zone is somebody else's."""
    return [Backend(host, wanted.address, wanted.port) for host in wanted.hostnames]


def _backend(host: str, route: Any) -> Backend:
    # Older versions answer host -> "address:port" without the object.
    target = str(route.get("backend", "") if isinstance(route, Mapping) else route)
    address, _, port = target.rpartition(":")
    return Backend(host.lower(), address, int(port) if port.isdecimal() else 0)
