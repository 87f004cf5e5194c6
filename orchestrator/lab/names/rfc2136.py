"""Dynamic updates of a zone (RFC 2136): the prerequisites are checked, then all changes are made in one step."""

from typing import cast

import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.update

from orchestrator.lab.names.zones import TYPES, Record, Zone, format_rdata


class UpdateRefusedError(Exception):
    """The update is not made; `code` is the answer's."""

    def __init__(self, code: dns.rcode.Rcode) -> None:
        super().__init__(dns.rcode.to_text(code))
        self.code = code


def apply_update(zone: Zone, message: dns.update.UpdateMessage) -> dns.rcode.Rcode:
    """Make the whole update or nothing of it; returns the answer's code."""
    if len(message.zone) != 1 or message.zone[0].name.to_text(omit_final_dot=True).lower() != zone.name:
        return dns.rcode.NOTAUTH
    try:
        _check_prerequisites(zone, message.prerequisite)
        records = zone.records()
        for change in message.update:
            records = _apply_change(zone, records, change)
    except UpdateRefusedError as refusal:
        return refusal.code
    if records != zone.records():
        zone.replace_all(records)
    return dns.rcode.NOERROR


def _check_prerequisites(zone: Zone, prerequisites: list[dns.rrset.RRset]) -> None:
    """Check as RFC 2136 section 3.2 says; a prerequisite with values compares whole record sets.

    Raises UpdateRefusedError."""
    wanted: dict[tuple[str, str], set[str]] = {}
    for condition in prerequisites:
        name, kind = _read_name(zone, condition), dns.rdatatype.to_text(condition.rdtype)
        any_type = condition.rdtype == dns.rdatatype.ANY
        present = zone.exists(name) if any_type else bool(zone.records(name, kind))
        if condition.deleting == dns.rdataclass.ANY and not present:
            raise UpdateRefusedError(dns.rcode.NXDOMAIN if any_type else dns.rcode.NXRRSET)
        if condition.deleting == dns.rdataclass.NONE and present:
            raise UpdateRefusedError(dns.rcode.YXDOMAIN if any_type else dns.rcode.YXRRSET)
        if condition.deleting is None:
            wanted.setdefault((name, kind), set()).update(format_rdata(rdata) for rdata in condition)
    for (name, kind), values in wanted.items():
        if {record.value for record in zone.records(name, kind)} != values:
            raise UpdateRefusedError(dns.rcode.NXRRSET)


def _apply_change(zone: Zone, records: list[Record], change: dns.rrset.RRset) -> list[Record]:
    """The records after one change (RFC 2136 section 3.4.2)."""
    name, kind = _read_name(zone, change), dns.rdatatype.to_text(change.rdtype)
    if change.deleting == dns.rdataclass.ANY:
        any_type = change.rdtype == dns.rdatatype.ANY
        return [r for r in records if r.name != name or not (any_type or r.type == kind)]
    if kind not in TYPES:
        # SOA and NS belong to the server itself, and the lab has no use for any other type.
        raise UpdateRefusedError(dns.rcode.REFUSED)
    value = format_rdata(cast(dns.rdata.Rdata, change[0]))
    kept = [r for r in records if r.identity != (name, kind, value)]
    if change.deleting == dns.rdataclass.NONE:
        return kept
    # To add a record that is there changes at most its TTL.
    known = next((r for r in records if r.identity == (name, kind, value)), None)
    if known is not None and known.ttl == change.ttl:
        return records
    return [*kept, Record(name, kind, value, change.ttl)]


def _read_name(zone: Zone, rrset: dns.rrset.RRset) -> str:
    name = rrset.name.to_text(omit_final_dot=True).lower()
    if name not in zone:
        raise UpdateRefusedError(dns.rcode.NOTZONE)
    return name
