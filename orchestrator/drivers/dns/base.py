"""What every DNS provider does for an instance: ensure and remove, over three verbs that a driver knows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from orchestrator.domain.errors import Code
from orchestrator.domain.publications import Publication
from orchestrator.drivers.dns.marks import carries, first_untouchable, refusal
from orchestrator.drivers.dns.records import Names, Record, RecordError, describe, differing, names, surplus, wanted
from orchestrator.drivers.httpjson import HttpError
from orchestrator.drivers.result import LaterError, PhaseError, refusal_of, until_known

CODE = Code.DNS_FAILED


@dataclass(frozen=True)
class Provider:
    """One entry of `hostwright_dns`. `exclusive` says that nobody but Hostwright has records in the zone."""

    name: str
    driver: str
    zone: str
    address: str
    nameserver: str
    secret: str
    url: str = ""
    zone_id: str = ""
    ca_file: str | None = None
    server: str = ""
    key_name: str = ""
    key_algorithm: str = "hmac-sha256"
    exclusive: bool = False

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

    def failure(
        self, words: str, remedy: str = "", *, left_alone: float | None = None, unsure: bool = False
    ) -> PhaseError:
        """The provider's own words under its name; the rest is as in refusal_of."""
        where = {"provider": self.name, "zone": self.zone}
        return refusal_of(CODE, self.name, words, remedy, left_alone=left_alone, unsure=unsure, **where)

    def unreachable(self, error: HttpError) -> PhaseError:
        remedy = f"is {self.url} reachable?"
        return self.failure(str(error), remedy, left_alone=error.left_alone, unsure=error.unsure)


class DnsDriver(ABC):
    """One provider's API. Every method raises PhaseError `dns-failed` with the provider's name and words.

    Only records with our mark are ever changed or removed (docs/adr/0009).
    """

    NEEDS: ClassVar[tuple[str, ...]]
    """What an entry must say for this driver, beyond what every driver needs."""
    ZONE: ClassVar[str] = "zone"
    """The member of an entry by which the provider knows the zone."""

    def __init__(self, provider: Provider, mark: str, *, secret: str, timeout: float, quiet: float = math.inf) -> None:
        """`timeout` in seconds bounds each request with its retries.

        A provider that wants to be left alone for longer than `quiet` seconds makes every method raise LaterError.
        """
        self.provider = provider
        self.mark = mark
        self.secret = secret
        self.timeout = timeout
        self.quiet = quiet

    @staticmethod
    def marked(records: Sequence[Record], where: Names, mark: str) -> list[Record]:
        """The same records with our mark, as this provider keeps it."""
        del where
        return [replace(record, mark=mark) for record in records]

    @abstractmethod
    def read(self, keys: Collection[tuple[str, str]]) -> list[Record]:
        """The records of these names and types, whosever they are. One that a wildcard answers with is none."""

    @abstractmethod
    def write(self, found: Sequence[Record], changes: Sequence[Record]) -> None:
        """Make each record of `changes` the only one of its name and type; `found` is what was read."""

    @abstractmethod
    def delete(self, found: Sequence[Record]) -> None:
        """Delete what was read; what is gone meanwhile counts as deleted."""

    def ensure(self, where: Names, records: Sequence[Record], *, check: bool = False) -> bool:
        """True when something had to be changed. Nothing counts as done before it reads back."""
        return until_known(lambda: self._ensure(where, records, check=check), timeout=self.timeout, quiet=self.quiet)

    def remove(self, publications: Sequence[Publication], *, check: bool = False) -> bool:
        """True when something of ours was there. What is somebody else's by now stays, and is not ours to remove."""
        return until_known(lambda: self._remove(publications, check=check), timeout=self.timeout, quiet=self.quiet)

    def _ensure(self, where: Names, records: Sequence[Record], *, check: bool) -> bool:
        desired = self.marked(records, where, self.mark)
        found = self._read_ours(where, desired)
        wrong = bool(differing(found, desired) or surplus(found, desired))
        if wrong and not check:
            try:
                self._change(found, desired)
                self._require_there(where, desired)
            except LaterError as later:
                later.changed = True
                raise
        return wrong

    def _change(self, found: Sequence[Record], desired: Sequence[Record]) -> None:
        # Whosever the others are: the zone is wholly ours when they did not end it before.
        others, changes = surplus(found, desired), differing(found, desired)
        if others:
            self.delete(others)
        if changes:
            self.write([one for one in found if one not in others], changes)

    def _require_there(self, where: Names, desired: Sequence[Record]) -> None:
        back = self._read_ours(where, desired)
        if differing(back, desired) or surplus(back, desired):
            off = not all(record.served for record in back)
            raise self.provider.failure(
                f"took the change of {where.host} but reads back {describe(back)} instead of {describe(desired)}",
                "switch the zone and its records on there" if off else "another system may write the same names",
            )

    def _remove(self, publications: Sequence[Publication], *, check: bool) -> bool:
        found = self.read({(one.name, one.type) for one in publications})
        ours = [record for record in found if carries(record.mark, self.mark)]
        if ours and not check:
            self.delete(ours)
        return bool(ours)

    def _read_ours(self, where: Names, desired: Sequence[Record]) -> list[Record]:
        """What is at our names, once nothing there is somebody else's."""
        found = self.read({*where.keys, *(record.key for record in desired)})
        foreign = first_untouchable(found, self.mark, exclusive=self.provider.exclusive)
        if foreign is not None:
            raise self.provider.failure(*refusal(foreign))
        return found
