"""What every proxy does for an instance: ensure and remove its registration, list them, say whether it is there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.drivers.result import PhaseError

CODE = Code.VELOCITY_FAILED
# What the inventory must say of each kind of proxy beside `driver`.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "zpack-bridge": ("url",),
    "mc-router": ("url",),
    "traefik": ("host", "directory"),
}


@dataclass(frozen=True)
class Backend:
    """A registration as the proxy lists it. `name` is what the proxy calls it: a server's name or a route's host."""

    name: str
    address: str
    port: int


@dataclass(frozen=True)
class Registration:
    """What shall be registered: players of `hostnames`, or of `public_port`, get to `address:port`.

    `name` is the instance's short host name, the same on every call; `server_id` goes into the mark, where a proxy
    keeps one.
    """

    name: str
    server_id: str
    address: str
    port: int
    hostnames: Sequence[str] = ()
    protocol: str = "tcp"
    public_port: int = 0


@dataclass(frozen=True)
class Proxy:
    """`hostwright_proxy` or `hostwright_entry_points`.

    `encoding` is how the bridge reads request bodies: json or form. `host` is the host of the inventory on which
    `directory` is, and `entry_point` how Traefik's static configuration names its entry points.
    """

    driver: str
    url: str = ""
    secret: str = ""
    ca_file: str | None = None
    encoding: str = "json"
    host: str = ""
    directory: str = ""
    entry_point: str = "{protocol}-{port}"

    @staticmethod
    def parse(entry: Mapping[str, Any]) -> Proxy:
        """Raises PhaseError `internal` for a typo in the inventory."""
        unknown = sorted(set(entry) - set(Proxy.__dataclass_fields__))
        needed = ("driver", *NEEDED.get(str(entry.get("driver")), ()))
        missing = [name for name in needed if not entry.get(name)]
        if unknown or missing or entry.get("encoding", "json") not in ("json", "form"):
            problem = f"unknown {unknown}, missing {missing}, encoding json or form"
            raise PhaseError(Code.INTERNAL, f"hostwright_proxy or hostwright_entry_points is wrong: {problem}")
        return Proxy(**{str(name): value for name, value in entry.items()})

    def failure(self, words: str, remedy: str = "") -> PhaseError:
        where = self.url or f"{self.host}:{self.directory}"
        sentence = f"proxy {self.driver} at {where}: {words.rstrip('.')}" + (f"; {remedy}" if remedy else "")
        return PhaseError(CODE, sentence, proxy=self.driver, answer=words)


class ProxyDriver(ABC):
    """One kind of proxy. Every method raises PhaseError `velocity-failed` with the proxy's own words."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy

    @abstractmethod
    def backends(self) -> list[Backend]:
        """What the proxy says it knows."""

    @abstractmethod
    def ensure(self, wanted: Registration, *, check: bool = False) -> bool:
        """True when something had to be changed."""

    @abstractmethod
    def remove(self, name: str, server_id: str, *, check: bool = False) -> bool:
        """True when something was there."""

    @abstractmethod
    def routes(self, name: str, address: str, port: int, backends: Sequence[Backend]) -> bool:
        """Whether these registrations lead players of `name` to `address:port`."""

    def healthy(self) -> bool:
        """Whether the proxy answers at all."""
        try:
            self.backends()
        except PhaseError:
            return False
        return True
