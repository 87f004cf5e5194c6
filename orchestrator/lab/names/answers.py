"""The answer of an authoritative name server to a query: a pure function of a zone and a message."""

from dataclasses import replace

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from orchestrator.lab.names.zones import Record, Zone

NEGATIVE_TTL = 5
"""Seconds. It is short, so that a resolver that asked too early soon asks again."""
TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)


def answer_query(zone: Zone, query: dns.message.Message) -> dns.message.Message:
    """The response: REFUSED outside the zone or when it is off, NXDOMAIN for an unknown name, else at least empty."""
    response = dns.message.make_response(query)
    if len(query.question) != 1:
        response.set_rcode(dns.rcode.FORMERR)
        return response
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    if zone.disabled or name not in zone or question.rdclass != dns.rdataclass.IN or question.rdtype in TRANSFERS:
        response.set_rcode(dns.rcode.REFUSED)
        return response
    response.flags |= dns.flags.AA
    found = _resolve(zone, name, question.rdtype)
    if found:
        response.answer = found
        response.additional = _find_targets(zone, found)
    else:
        response.authority = [_make_soa(zone)]
        if not zone.exists(name) and not _find_records(zone, name):
            response.set_rcode(dns.rcode.NXDOMAIN)
    return response


def _make_soa(zone: Zone) -> dns.rrset.RRset:
    value = f"ns.{zone.name}. hostmaster.{zone.name}. {zone.serial} 3600 600 86400 {NEGATIVE_TTL}"
    return dns.rrset.from_text(f"{zone.name}.", NEGATIVE_TTL, "IN", "SOA", value)


def _resolve(zone: Zone, name: str, rdtype: dns.rdatatype.RdataType) -> list[dns.rrset.RRset]:
    """The record sets that answer, following aliases inside the zone."""
    found: list[dns.rrset.RRset] = []
    seen: set[str] = set()
    while name in zone and name not in seen:
        seen.add(name)
        records = _find_records(zone, name)
        matching = [r for r in records if rdtype == dns.rdatatype.ANY or r.type == dns.rdatatype.to_text(rdtype)]
        alias = next((r for r in records if r.type == "CNAME"), None)
        if matching or alias is None:
            return found + _group_records(matching) + _find_own(zone, name, rdtype)
        found += _group_records([alias])
        name = alias.value
    return found


def _find_records(zone: Zone, name: str) -> list[Record]:
    """The records at a name, or those that a wildcard makes up for one that does not exist (RFC 4592)."""
    if zone.exists(name):
        return zone.served(name)
    encloser = name
    while not zone.exists(encloser):
        encloser = encloser.partition(".")[2]
    return [replace(record, name=name) for record in zone.served(f"*.{encloser}")]


def _find_own(zone: Zone, name: str, rdtype: dns.rdatatype.RdataType) -> list[dns.rrset.RRset]:
    """The records that every zone has of its own: SOA and NS at its top, and the address of its name server."""
    own: list[dns.rrset.RRset] = []
    if name == zone.name:
        own = [_make_soa(zone), dns.rrset.from_text(f"{name}.", 3600, "IN", "NS", f"ns.{name}.")]
    elif name == f"ns.{zone.name}":
        own = [dns.rrset.from_text(f"{name}.", 3600, "IN", "A", zone.address)]
    return [rrset for rrset in own if rdtype in (rrset.rdtype, dns.rdatatype.ANY)]


def _group_records(records: list[Record]) -> list[dns.rrset.RRset]:
    """The records as record sets, one for each name and type."""
    sets: dict[tuple[str, str], dns.rrset.RRset] = {}
    for record in records:
        fresh = dns.rrset.from_rdata(dns.name.from_text(record.name), record.served_ttl, record.rdata())
        known = sets.setdefault((record.name, record.type), fresh)
        # RFC 2181 section 5.2: a set has one TTL. add() keeps the lowest.
        known.add(record.rdata(), record.served_ttl)
    return list(sets.values())


def _find_targets(zone: Zone, found: list[dns.rrset.RRset]) -> list[dns.rrset.RRset]:
    """The addresses of those SRV targets that are in this zone; they save the client a second query (RFC 2782)."""
    names = {
        rdata.target.to_text(omit_final_dot=True).lower()
        for rrset in found
        if rrset.rdtype == dns.rdatatype.SRV
        for rdata in rrset
    }
    return [rrset for name in sorted(names) for rrset in _group_records(zone.served(name, "A"))]
