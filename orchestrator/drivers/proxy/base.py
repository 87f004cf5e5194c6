"""What every proxy does for an instance: ensure and remove its registration, list them, say whether it is there."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from orchestrator.domain.errors import Code
from orchestrator.domain.publications import Publication
from orchestrator.drivers.dns.records import canonical
from orchestrator.drivers.remote import RunModule
from orchestrator.drivers.result import PhaseError, refusal_of, until_known

CODE = Code.VELOCITY_FAILED


@dataclass(frozen=True)
class Backend:
    """A registration as the proxy lists it. `name` is what the proxy calls it: a server's name or a route's host."""

    name: str
    address: str
    port: int

    def is_as_published(self, publication: Publication) -> bool:
        """Whether it is what was published. By hand nobody knows the address, and the value is empty: any will do."""
        return self.name == publication.name and publication.value in ("", f"{self.address}:{self.port}")


@dataclass(frozen=True)
class Registration:
    """What shall be registered: players of `hostnames`, or of `public_port`, get to `address:port`.

    `name` is the instance's short host name, the same on every call; `server_id` goes into the mark, where a proxy
    keeps one. `zones` are those in which players find the name.
    """

    name: str
    server_id: str
    address: str
    port: int
    zones: Sequence[str] = ()
    protocol: str = "tcp"
    public_port: int = 0

    @property
    def hostnames(self) -> list[str]:
        """As a proxy lists them."""
        return [canonical(f"{self.name}.{zone}") for zone in self.zones]

    @property
    def value(self) -> str:
        """As a publication has it."""
        return f"{self.address}:{self.port}" if self.address else ""


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

    def failure(
        self, words: str, remedy: str = "", *, left_alone: float | None = None, unsure: bool = False
    ) -> PhaseError:
        """The proxy's own words under its name; the rest is as in refusal_of."""
        who = f"proxy {self.driver} at {self.url or f'{self.host}:{self.directory}'}"
        return refusal_of(CODE, who, words, remedy, left_alone=left_alone, unsure=unsure, proxy=self.driver)


class ProxyDriver(ABC):
    """One kind of proxy. Every method raises PhaseError `velocity-failed` with the proxy's own words."""

    NEEDS: ClassVar[tuple[str, ...]]
    """What the inventory must say for this kind beside `driver`."""

    def __init__(self, proxy: Proxy, *, secret: str, run: RunModule, timeout: float, quiet: float = math.inf) -> None:
        """`run` reaches the proxy's host; `timeout` in seconds bounds a request, or the waiting for that host.

        A proxy that wants to be left alone for longer than `quiet` seconds makes every method raise LaterError.
        """
        self.proxy = proxy
        self.secret = secret
        self.run = run
        self.timeout = timeout
        self.quiet = quiet

    @staticmethod
    @abstractmethod
    def publications(proxy: Proxy, wanted: Registration) -> list[Publication]:
        """What ensuring it publishes."""

    @abstractmethod
    def backends(self) -> list[Backend]:
        """What the proxy says it knows."""

    def ensure(self, wanted: Registration, *, check: bool = False) -> bool:
        """True when something had to be changed."""
        return until_known(lambda: self._ensure(wanted, check=check), timeout=self.timeout, quiet=self.quiet)

    def remove(self, publications: Sequence[Publication], server_id: str, *, check: bool = False) -> bool:
        """True when something was there. What is not as it was published, or has another mark, stays."""
        return until_known(
            lambda: self._remove(publications, server_id, check=check), timeout=self.timeout, quiet=self.quiet
        )

    @abstractmethod
    def _ensure(self, wanted: Registration, *, check: bool) -> bool:
        """One try of `ensure`, which begins by reading."""

    @abstractmethod
    def _remove(self, publications: Sequence[Publication], server_id: str, *, check: bool) -> bool:
        """One try of `remove`, which begins by reading."""

    @abstractmethod
    def routes(self, wanted: Registration, backends: Sequence[Backend]) -> bool:
        """Whether these registrations lead its players where they shall get."""
