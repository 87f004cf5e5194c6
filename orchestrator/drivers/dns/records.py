"""The DNS records of one instance at one provider: which names, which values. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address

TTL = 60
PRIORITY = 0
WEIGHT = 5
# One label: no wildcard, no zone apex, nothing but a host of its own can ever be named by it.
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
ZONE = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class RecordError(ValueError):
    """A name or address no record can be made of; the text says which and why."""


@dataclass(frozen=True)
class Names:
    """The only names of an instance whose records are ever touched, full and without the last dot."""

    host: str
    service: str

    @property
    def owner(self) -> str:
        """Where providers without comments keep our mark."""
        return owner_of(self.host, "A")

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Name and type of all that decides where a player gets: of our own records, and of others' beside them."""
        host, service = self.host, self.service
        return [(host, "A"), (host, "AAAA"), (host, "CNAME"), (service, "SRV"), (service, "CNAME")]


@dataclass(frozen=True, order=True)
class Record:
    """A record. `value` of an SRV is "priority weight port target".

    `mark` is the note that says whose it is. `served` is False when the provider keeps it but does not answer with it
    as it stands. `ref` is the provider's handle of it.
    """

    name: str
    type: str
    value: str
    ttl: int = TTL
    mark: str = ""
    served: bool = True
    ref: str = field(default="", compare=False)

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.type


def names(hostname: str, zone: str, service: str, protocol: str) -> Names:
    """Raises RecordError when one of them is no label or no zone."""
    for what, value in (("host name", hostname), ("service", service), ("protocol", protocol)):
        if not LABEL.fullmatch(value):
            raise RecordError(f"{what} {value!r} is not one lower-case DNS label")
    plain = canonical(zone)
    if not ZONE.fullmatch(plain):
        raise RecordError(f"{zone!r} is not a DNS zone")
    host = f"{hostname}.{plain}"
    return Names(host=host, service=f"_{service}._{protocol}.{host}")


def owner_of(name: str, kind: str) -> str:
    """Where the mark of one of our records is kept at providers without comments."""
    if kind == "TXT":
        return name
    return f"_hostwright.{name.split('.', 2)[2] if kind == 'SRV' else name}"


def wanted(where: Names, address: str, port: int) -> list[Record]:
    """A to the provider's edge address and SRV to the host itself.

    After an SRV lookup clients disagree whether they send the queried name or the target: both are one name.
    """
    try:
        IPv4Address(address)
    except AddressValueError:
        raise RecordError(f"edge address {address!r} is not an IPv4 address") from None
    return [
        Record(where.host, "A", address),
        Record(where.service, "SRV", srv_value(PRIORITY, WEIGHT, port, where.host)),
    ]


def srv_value(priority: int | str, weight: int | str, port: int | str, target: str) -> str:
    return f"{int(priority)} {int(weight)} {int(port)} {canonical(target)}"


def srv_parts(value: str) -> tuple[int, int, int, str]:
    """Priority, weight, port, target."""
    priority, weight, port, target = value.split(" ")
    return int(priority), int(weight), int(port), target


def canonical(name: str) -> str:
    return name.removesuffix(".").lower()


def differing(found: Iterable[Record], desired: Sequence[Record]) -> list[Record]:
    """The desired records whose record set is not exactly that one record."""
    there = list(found)
    return [one for one in desired if [other for other in there if other.key == one.key] != [one]]


def surplus(found: Iterable[Record], desired: Sequence[Record]) -> list[Record]:
    """Addresses and aliases beside the desired records, which would lead players elsewhere."""
    keys = {record.key for record in desired}
    return [one for one in found if one.key not in keys]


def describe(records: Iterable[Record]) -> str:
    """For a message: `A 10.0.0.1, SRV 0 5 25565 host (switched off)`, or `nothing`."""
    return ", ".join(_describe(record) for record in sorted(records)) or "nothing"


def _describe(record: Record) -> str:
    return f"{record.type} {record.value}" + ("" if record.served else " (switched off)")
