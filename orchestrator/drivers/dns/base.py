"""What every DNS provider does for an instance: ensure and remove, over three verbs that a driver knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.drivers.dns.records import Names, Record, RecordError, describe, differing, names, wanted
from orchestrator.drivers.result import PhaseError

CODE = Code.DNS_FAILED


@dataclass(frozen=True)
class Provider:
    """One entry of `hostwright_dns`. What a driver needs beyond `zone` and `address`, it checks itself."""

    name: str
    driver: str
    zone: str
    address: str
    nameserver: str
    url: str = ""
    zone_id: str = ""
    secret: str = ""
    ca_file: str | None = None
    server: str = ""
    key_name: str = ""
    key_algorithm: str = "hmac-sha256"

    @staticmethod
    def parse(entry: Mapping[str, Any]) -> Provider:
        """Raises PhaseError `internal` for an unknown or missing member: a typo in the inventory."""
        known = Provider.__dataclass_fields__
        unknown = sorted(set(entry) - set(known))
        missing = [name for name in ("name", "driver", "zone", "address", "nameserver") if not entry.get(name)]
        if unknown or missing:
            problem = f"unknown {', '.join(unknown)}" if unknown else f"missing {', '.join(missing)}"
            raise PhaseError(Code.INTERNAL, f"hostwright_dns entry {entry.get('name')}: {problem}; see docs")
        return Provider(**{str(name): value for name, value in entry.items()})

    def names(self, hostname: str, service: str, protocol: str) -> Names:
        try:
            return names(hostname, self.zone, service, protocol)
        except RecordError as error:
            raise self.failure(str(error)) from None

    def records(self, where: Names, port: int) -> list[Record]:
        try:
            return wanted(where, self.address, port)
        except RecordError as error:
            raise self.failure(str(error)) from None

    def failure(self, words: str, remedy: str = "") -> PhaseError:
        """The provider's own words under its name."""
        sentence = f"{self.name}: {words.rstrip('.')}" + (f"; {remedy}" if remedy else "")
        return PhaseError(CODE, sentence, provider=self.name, zone=self.zone, answer=words)


class DnsDriver(ABC):
    """One provider's API. Every method raises PhaseError `dns-failed` with the provider's name and words."""

    def __init__(self, provider: Provider, mark: str) -> None:
        self.provider = provider
        self.mark = mark

    @abstractmethod
    def read(self, where: Names) -> list[Record]:
        """The records at our names that are of the types we publish."""

    @abstractmethod
    def write(self, found: Sequence[Record], changes: Sequence[Record]) -> None:
        """Make each record of `changes` the only one of its name and type; `found` is what was read."""

    @abstractmethod
    def delete(self, found: Sequence[Record]) -> None:
        """Delete what was read; what is gone meanwhile counts as deleted."""

    def marked(self, records: Sequence[Record], where: Names) -> list[Record]:
        """The same records with our mark, as this provider keeps it."""
        return list(records)

    def ensure(self, where: Names, records: Sequence[Record], *, check: bool = False) -> bool:
        """True when something had to be changed. Nothing counts as done before it reads back."""
        desired = self.marked(records, where)
        found = self.read(where)
        changes = differing(found, desired)
        if not changes or check:
            return bool(changes)
        self.write(found, changes)
        back = self.read(where)
        wrong = differing(back, desired)
        if wrong:
            raise self.provider.failure(
                f"took the change of {where.host} but reads back {describe(back)} instead of {describe(desired)}",
                "another system may write the same names",
            )
        return True

    def remove(self, where: Names, *, check: bool = False) -> bool:
        """True when something was there. What is absent needs no second request."""
        found = self.read(where)
        if found and not check:
            self.delete(found)
        return bool(found)
