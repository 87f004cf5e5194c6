"""What every proxy does for an instance: ensure and remove a backend, list them, say whether it is there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hostwright_ansible.httpjson import HttpError, HttpJson, Reply
from hostwright_ansible.result import PhaseError

CODE = "velocity-failed"


@dataclass(frozen=True)
class Backend:
    """A registration. `name` is what the proxy calls it: a server's name or a route's host."""

    name: str
    address: str
    port: int


@dataclass(frozen=True)
class Proxy:
    """`hostwright_proxy`. `encoding` is how the bridge reads request bodies: json or form."""

    driver: str
    url: str
    secret: str = ""
    ca_file: str | None = None
    encoding: str = "json"

    @staticmethod
    def parse(entry: Mapping[str, Any]) -> Proxy:
        """Raises PhaseError `internal` for a typo in the inventory."""
        unknown = sorted(set(entry) - set(Proxy.__dataclass_fields__))
        missing = [name for name in ("driver", "url") if not entry.get(name)]
        if unknown or missing or entry.get("encoding", "json") not in ("json", "form"):
            problem = f"unknown {unknown}, missing {missing}, encoding json or form"
            raise PhaseError("internal", f"hostwright_proxy is wrong: {problem}")
        return Proxy(**{str(name): value for name, value in entry.items()})

    def failure(self, words: str, remedy: str = "") -> PhaseError:
        sentence = f"proxy {self.driver} at {self.url}: {words.rstrip('.')}" + (f"; {remedy}" if remedy else "")
        return PhaseError(CODE, sentence, proxy=self.driver, answer=words)


class ProxyDriver(ABC):
    """One kind of proxy. `name` is the instance's short host name, the same on every call.

    Every method raises PhaseError `velocity-failed` with the proxy's own words.
    """

    def __init__(self, proxy: Proxy, http: HttpJson) -> None:
        self.proxy = proxy
        self.http = http

    @abstractmethod
    def backends(self) -> list[Backend]:
        """What the proxy says it knows."""

    @abstractmethod
    def ensure(self, name: str, hostnames: Sequence[str], address: str, port: int, *, check: bool = False) -> bool:
        """Route players of `hostnames` to `address:port`. True when something had to be changed."""

    @abstractmethod
    def remove(self, name: str, *, check: bool = False) -> bool:
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

    def request(self, method: str, path: str, **body: Any) -> Reply:
        try:
            return self.http.call(method, f"{self.proxy.url}{path}", **body)
        except HttpError as error:
            raise self.proxy.failure(str(error), "is the proxy running and its address right?") from None

    def refused(self, reply: Reply) -> PhaseError:
        remedy = f"check secret {self.proxy.secret}" if reply.status in (401, 403) else ""
        return self.proxy.failure(f"HTTP {reply.status}: {reply.words()}", remedy)
