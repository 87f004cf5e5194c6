"""Dynamic updates (RFC 2136) of a zone: prerequisites first, then everything in one step or nothing."""

from typing import cast

import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.update

from orchestrator.lab.names.zones import TYPES, Record, Zone, from_rdata


class UpdateRefusedError(Exception):
    """The update is not made; carries the answer's code."""

    def __init__(self, code: dns.rcode.Rcode) -> None:
        super().__init__(dns.rcode.to_text(code))
        self.code = code


def apply(zone: Zone, message: dns.update.UpdateMessage) -> dns.rcode.Rcode:
    """Makes the whole update or none of it and returns the answer's code."""
    if len(message.zone) != 1 or message.zone[0].name.to_text(omit_final_dot=True).lower() != zone.name:
        return dns.rcode.NOTAUTH
    try:
        _check_prerequisites(zone, message.prerequisite)
        records = zone.records()
        for change in message.update:
            records = _changed(zone, records, change)
    except UpdateRefusedError as refusal:
        return refusal.code
    if records != zone.records():
        zone.replace_all(records)
    return dns.rcode.NOERROR


def _check_prerequisites(zone: Zone, prerequisites: list[dns.rrset.RRset]) -> None:
    """RFC 2136 section 3.2; value-dependent ones compare whole record sets."""
    wanted: dict[tuple[str, str], set[str]] = {}
    for condition in prerequisites:
        name, kind = _name(zone, condition), dns.rdatatype.to_text(condition.rdtype)
        any_type = condition.rdtype == dns.rdatatype.ANY
        present = zone.exists(name) if any_type else bool(zone.records(name, kind))
        if condition.deleting == dns.rdataclass.ANY and not present:
            raise UpdateRefusedError(dns.rcode.NXDOMAIN if any_type else dns.rcode.NXRRSET)
        if condition.deleting == dns.rdataclass.NONE and present:
            raise UpdateRefusedError(dns.rcode.YXDOMAIN if any_type else dns.rcode.YXRRSET)
        if condition.deleting is None:
            wanted.setdefault((name, kind), set()).update(from_rdata(rdata) for rdata in condition)
    for (name, kind), values in wanted.items():
        if {record.value for record in zone.records(name, kind)} != values:
            raise UpdateRefusedError(dns.rcode.NXRRSET)


def _changed(zone: Zone, records: list[Record], change: dns.rrset.RRset) -> list[Record]:
    """The records after one change (RFC 2136 section 3.4.2)."""
    name, kind = _name(zone, change), dns.rdatatype.to_text(change.rdtype)
    if change.deleting == dns.rdataclass.ANY:
        any_type = change.rdtype == dns.rdatatype.ANY
        return [r for r in records if r.name != name or not (any_type or r.type == kind)]
    if kind not in TYPES:
        # SOA and NS belong to the server itself; an update of anything else has no place in this lab.
        raise UpdateRefusedError(dns.rcode.REFUSED)
    value = from_rdata(cast(dns.rdata.Rdata, change[0]))
    kept = [r for r in records if r.identity != (name, kind, value)]
    if change.deleting == dns.rdataclass.NONE:
        return kept
    # Adding what is there changes at most its TTL, in its place.
    known = next((r for r in records if r.identity == (name, kind, value)), None)
    if known is not None and known.ttl == change.ttl:
        return records
    return [*kept, Record(name, kind, value, change.ttl)]


def _name(zone: Zone, rrset: dns.rrset.RRset) -> str:
    name = rrset.name.to_text(omit_final_dot=True).lower()
    if name not in zone:
        raise UpdateRefusedError(dns.rcode.NOTZONE)
    return name
