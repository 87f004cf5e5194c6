"""mc-router: routes by full host name over an API without authentication, which belongs on loopback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from hostwright_ansible.httpjson import HttpJson
from hostwright_ansible.proxy_driver import Backend, Proxy, ProxyDriver


class McRouter(ProxyDriver):
    def __init__(self, proxy: Proxy, *, secret: str | None, timeout: float) -> None:
        super().__init__(proxy, HttpJson(ca_file=proxy.ca_file, bearer=secret, timeout=timeout))

    def backends(self) -> list[Backend]:
        reply = self.request("GET", "/routes")
        if not reply.ok or not isinstance(reply.body, dict):
            raise self.refused(reply)
        return [_backend(host, route) for host, route in reply.body.items()]

    def ensure(self, name: str, hostnames: Sequence[str], address: str, port: int, *, check: bool = False) -> bool:
        there = {one.name: one for one in self.backends() if _belongs(one, name)}
        wanted = {host: Backend(host, address, port) for host in hostnames}
        missing = [host for host, backend in wanted.items() if there.get(host) != backend]
        stale = [host for host in there if host not in wanted]
        if not check:
            for host in stale:
                self._delete(host)
            for host in missing:
                self._post(host, address, port)
        return bool(missing or stale)

    def remove(self, name: str, *, check: bool = False) -> bool:
        ours = [one.name for one in self.backends() if _belongs(one, name)]
        if not check:
            for host in ours:
                self._delete(host)
        return bool(ours)

    def routes(self, name: str, address: str, port: int, backends: Sequence[Backend]) -> bool:
        ours = [one for one in backends if _belongs(one, name)]
        return bool(ours) and all((one.address, one.port) == (address, port) for one in ours)

    def _post(self, host: str, address: str, port: int) -> None:
        reply = self.request("POST", "/routes", body={"serverAddress": host, "backend": f"{address}:{port}"})
        if not reply.ok:
            raise self.refused(reply)

    def _delete(self, host: str) -> None:
        reply = self.request("DELETE", f"/routes/{quote(host, safe='')}")
        if not reply.ok and reply.status != 404:
            raise self.refused(reply)


def _belongs(route: Backend, name: str) -> bool:
    """The instance's routes are its short name in whichever zone."""
    return route.name == name or route.name.startswith(f"{name}.")


def _backend(host: str, route: Any) -> Backend:
    # Older versions answer host -> "address:port" without the object.
    target = str(route.get("backend", "") if isinstance(route, Mapping) else route)
    address, _, port = target.rpartition(":")
    return Backend(host.lower(), address, int(port) if port.isdecimal() else 0)
