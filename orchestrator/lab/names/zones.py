"""The records of the lab's DNS views: the APIs and dynamic updates change them, the responder serves them."""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from orchestrator.lab.errors import InputError

TYPES = ("A", "AAAA", "CNAME", "SRV", "TXT")
# 300 is Cloudflare's meaning of "automatic" (ttl 1).
AUTOMATIC_TTL = 300


@dataclass(frozen=True)
class Record:
    """One record. `name` is full, lower case, without the last dot; so are names inside `value`."""

    name: str
    type: str
    value: str
    ttl: int
    comment: str = ""
    proxied: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes two records the same one: TTL and comment do not."""
        return self.name, self.type, self.value

    def rdata(self) -> dns.rdata.Rdata:
        return dns.rdata.from_text(dns.rdataclass.IN, self.type, self.value, origin=dns.name.root, relativize=False)

    @property
    def served_ttl(self) -> int:
        return AUTOMATIC_TTL if self.ttl == 1 else self.ttl


def canonical_name(text: str) -> str:
    """Raises InputError when it is no host name of the DNS."""
    try:
        name = dns.name.from_text(text.strip(), origin=dns.name.root)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise InputError("name", f"{text!r} is not a domain name") from error
    return name.to_text(omit_final_dot=True).lower()


def canonical_value(kind: str, text: str) -> str:
    """The presentation form without a last dot; raises InputError when the text is no value of the type."""
    if kind not in TYPES:
        raise InputError("type", f"{kind!r} is not one of {', '.join(TYPES)}")
    try:
        rdata = dns.rdata.from_text(dns.rdataclass.IN, kind, text, origin=dns.name.root, relativize=False)
    except (dns.exception.DNSException, UnicodeError, ValueError) as error:
        raise InputError("value", f"{text!r} is not a value of a {kind} record") from error
    return from_rdata(rdata)


def from_rdata(rdata: dns.rdata.Rdata) -> str:
    text = rdata.to_text()
    if rdata.rdtype == dns.rdatatype.TXT:
        return text
    # The root alone (an SRV target that says "not here") keeps its dot.
    return (text if text.endswith(" .") else text.removesuffix(".")).lower()


class Zone:
    """The records of one zone in one view; `changed` is called after every change, `recorded` for each record."""

    def __init__(self, name: str, *, view: str, address: str) -> None:
        self.name = name
        self.view = view
        self.address = address
        self.serial = 1
        self.changed: Callable[[], None] = lambda: None
        self.recorded: Callable[[str, Record], None] = lambda action, record: None
        self._records: dict[str, Record] = {}

    def __contains__(self, name: str) -> bool:
        return name == self.name or name.endswith(f".{self.name}")

    def records(self, name: str | None = None, kind: str | None = None) -> list[Record]:
        return [
            record for record in self._records.values() if name in (None, record.name) and kind in (None, record.type)
        ]

    def get(self, record_id: str) -> Record | None:
        return self._records.get(record_id)

    def same(self, record: Record) -> Record | None:
        """Another record with the same name, type and value."""
        others = self.records(record.name, record.type)
        return next((o for o in others if o.value == record.value and o.id != record.id), None)

    def exists(self, name: str) -> bool:
        """Whether the name has records or names below it (an empty non-terminal exists, RFC 8020)."""
        return name == self.name or any(
            record.name == name or record.name.endswith(f".{name}") for record in self._records.values()
        )

    def put(self, record: Record) -> Record:
        """Adds the record, or changes the one with its id."""
        self._records[record.id] = record
        self.recorded("put", record)
        self._touch()
        return record

    def remove(self, records: Iterable[Record]) -> None:
        for record in records:
            if self._records.pop(record.id, None) is not None:
                self.recorded("remove", record)
        self._touch()

    def replace_all(self, records: Iterable[Record]) -> None:
        """Takes these records in place of all, in one step."""
        before, self._records = self._records, {record.id: record for record in records}
        for action, records_of, others in (("remove", before, self._records), ("put", self._records, before)):
            for record in records_of.values():
                if others.get(record.id) != record:
                    self.recorded(action, record)
        self._touch()

    def _touch(self) -> None:
        self.serial += 1
        self.changed()

    def dump(self) -> dict[str, Any]:
        return {"serial": self.serial, "records": [asdict(record) for record in self._records.values()]}

    def load(self, saved: dict[str, Any]) -> None:
        """Takes what `dump` gave."""
        self.serial = int(saved.get("serial", 1))
        self._records = {entry["id"]: Record(**entry) for entry in saved.get("records", [])}

    def inventory(self) -> list[dict[str, Any]]:
        return [
            {"view": self.view, "name": r.name, "type": r.type, "value": r.value, "ttl": r.ttl}
            for r in sorted(self._records.values(), key=lambda record: record.identity)
        ]
