"""The provider's Velocity plugin: register, unregister and status over HTTP, all in the proxy's memory."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.domain.publications import Publication
from orchestrator.drivers.httpjson import HttpJson, Reply
from orchestrator.drivers.proxy.base import Backend, Proxy, Registration
from orchestrator.drivers.proxy.http import PLACE, HttpProxyDriver
from orchestrator.drivers.remote import RunModule


class ZpackBridge(HttpProxyDriver):
    NEEDS = ("url", "secret")

    def __init__(self, proxy: Proxy, *, secret: str, run: RunModule, timeout: float, quiet: float = math.inf) -> None:
        super().__init__(proxy, secret=secret, run=run, timeout=timeout, quiet=quiet)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        self.http = HttpJson(ca_file=proxy.ca_file, headers={"X-Zpack-Secret": digest}, timeout=timeout, quiet=quiet)

    @staticmethod
    def publications(proxy: Proxy, wanted: Registration) -> list[Publication]:
        return [Publication(proxy.driver, PLACE, "backend", wanted.name, wanted.value)]

    def backends(self) -> list[Backend]:
        reply = self.request("GET", "/zpack/status")
        servers = reply.member("servers")
        if not reply.ok or not isinstance(servers, list):
            raise self.refused(reply)
        try:
            return [_backend(server) for server in servers]
        except (TypeError, ValueError, AttributeError) as error:
            # Whoever passed it over would take what it stands for as gone.
            raise self.proxy.failure(f"lists a server that we cannot read ({error})") from None

    def _ensure(self, wanted: Registration, *, check: bool) -> bool:
        # The plugin routes by the first label, which is the name.
        name, address, port = wanted.name, wanted.address, wanted.port
        there = next((one for one in self.backends() if one.name == name), None)
        if there == Backend(name, address, port):
            return False
        if check:
            return True
        if there is not None:
            self._unregister(name)
        reply = self._register(name, address, port)
        if not reply.ok and there is None and 400 <= reply.status < 500 and self._unregister(name):
            # A plugin that lists nothing may still hold the name, with another address.
            reply = self._register(name, address, port)
        if not reply.ok:
            raise self.refused(reply)
        return True

    def _remove(self, publications: Sequence[Publication], server_id: str, *, check: bool) -> bool:
        del server_id  # the plugin keeps no mark
        listed = self.backends()
        ours = {one.name for one in listed if any(one.is_as_published(each) for each in publications)}
        if not listed and not check:
            # A plugin that lists nothing may still hold the name.
            ours = {one.name for one in publications}
        return bool(ours) if check else True in [self._unregister(name) for name in sorted(ours)]

    def routes(self, wanted: Registration, backends: Sequence[Backend]) -> bool:
        return Backend(wanted.name, wanted.address, wanted.port) in backends

    def _register(self, name: str, address: str, port: int) -> Reply:
        return self._post("/zpack/register", {"server_name": name, "address": address, "port": port})

    def _unregister(self, name: str) -> bool:
        reply = self._post("/zpack/unregister", {"server_name": name})
        if reply.ok or reply.status == 404:
            return reply.ok
        raise self.refused(reply)

    def _post(self, path: str, fields: Mapping[str, Any]) -> Reply:
        return self.request("POST", path, **{"form" if self.proxy.encoding == "form" else "body": fields})


def _backend(server: Mapping[str, Any]) -> Backend:
    # Velocity keeps names lower-cased.
    return Backend(str(server.get("name", "")).lower(), str(server.get("address", "")), int(server.get("port", 0)))
