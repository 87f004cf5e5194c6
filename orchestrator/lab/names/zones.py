"""The records of the lab's DNS zones. The APIs and dynamic updates change them, and the name servers serve them."""

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
AUTOMATIC_TTL = 300
"""Seconds that Cloudflare serves for an automatic TTL, which is written as 1."""


@dataclass(frozen=True)
class Record:
    """One record. `name` is complete, in lower case and without the last dot; so are the names in `value`.

    A `disabled` one is kept and shown, but not served."""

    name: str
    type: str
    value: str
    ttl: int
    comment: str = ""
    proxied: bool = False
    disabled: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes two records the same one; TTL and comment do not count."""
        return self.name, self.type, self.value

    def rdata(self) -> dns.rdata.Rdata:
        return dns.rdata.from_text(dns.rdataclass.IN, self.type, self.value, origin=dns.name.root, relativize=False)

    @property
    def served_ttl(self) -> int:
        return AUTOMATIC_TTL if self.ttl == 1 else self.ttl


def normalise_name(text: str) -> str:
    """The name in lower case and without the last dot. Raises InputError when it is no domain name."""
    try:
        name = dns.name.from_text(text.strip(), origin=dns.name.root)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise InputError("name", f"{text!r} is not a domain name") from error
    return name.to_text(omit_final_dot=True).lower()


def normalise_value(kind: str, text: str) -> str:
    """The presentation form without a last dot. Raises InputError when the text is no value of this type."""
    if kind not in TYPES:
        raise InputError("type", f"{kind!r} is not one of {', '.join(TYPES)}")
    try:
        rdata = dns.rdata.from_text(dns.rdataclass.IN, kind, text, origin=dns.name.root, relativize=False)
    except (dns.exception.DNSException, UnicodeError, ValueError) as error:
        raise InputError("value", f"{text!r} is not a value of a {kind} record") from error
    return format_rdata(rdata)


def format_rdata(rdata: dns.rdata.Rdata) -> str:
    """The presentation form without a last dot."""
    text = rdata.to_text()
    if rdata.rdtype == dns.rdatatype.TXT:
        return text
    # The root by itself keeps its dot; as an SRV target it says that the service is not offered.
    return (text if text.endswith(" .") else text.removesuffix(".")).lower()


class Zone:
    """The records of one zone in one view.

    `on_change` is called after every change, and `on_record` for each record that was put or removed."""

    def __init__(self, name: str, *, view: str, address: str) -> None:
        self.name = name
        self.view = view
        self.address = address
        self.serial = 1
        self.on_change: Callable[[], None] = lambda: None
        self.on_record: Callable[[str, Record], None] = lambda action, record: None
        self.disabled = False
        """Whether the whole zone is switched off: it is kept, but not served."""
        self._records: dict[str, Record] = {}

    def __contains__(self, name: str) -> bool:
        return name == self.name or name.endswith(f".{self.name}")

    def records(self, name: str | None = None, kind: str | None = None) -> list[Record]:
        return [
            record for record in self._records.values() if name in (None, record.name) and kind in (None, record.type)
        ]

    def served(self, name: str, kind: str | None = None) -> list[Record]:
        return [record for record in self.records(name, kind) if not record.disabled]

    def get(self, record_id: str) -> Record | None:
        return self._records.get(record_id)

    def find_same(self, record: Record) -> Record | None:
        """Another record with the same name, type and value."""
        others = self.records(record.name, record.type)
        return next((o for o in others if o.value == record.value and o.id != record.id), None)

    def exists(self, name: str) -> bool:
        """Whether the name has records or names below it (an empty non-terminal exists, RFC 8020)."""
        return name == self.name or any(
            record.name == name or record.name.endswith(f".{name}")
            for record in self._records.values()
            if not record.disabled
        )

    def put(self, record: Record) -> Record:
        """Add the record, or change the one with its id."""
        self._records[record.id] = record
        self.on_record("put", record)
        self._note_change()
        return record

    def remove(self, records: Iterable[Record]) -> None:
        for record in records:
            if self._records.pop(record.id, None) is not None:
                self.on_record("remove", record)
        self._note_change()

    def replace_all(self, records: Iterable[Record]) -> None:
        """Replace all records by these, in one step."""
        before, self._records = self._records, {record.id: record for record in records}
        for action, some, others in (("remove", before, self._records), ("put", self._records, before)):
            for record in some.values():
                if others.get(record.id) != record:
                    self.on_record(action, record)
        self._note_change()

    def _note_change(self) -> None:
        self.serial += 1
        self.on_change()

    def dump(self) -> dict[str, Any]:
        return {
            "serial": self.serial,
            "disabled": self.disabled,
            "records": [asdict(record) for record in self._records.values()],
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Take back what `dump` gave."""
        self.serial = int(saved.get("serial", 1))
        self.disabled = bool(saved.get("disabled", False))
        self._records = {entry["id"]: Record(**entry) for entry in saved.get("records", [])}

    def inventory(self) -> list[dict[str, Any]]:
        return [
            {"view": self.view, "name": r.name, "type": r.type, "value": r.value, "ttl": r.ttl}
            for r in sorted(self._records.values(), key=lambda record: record.identity)
        ]
