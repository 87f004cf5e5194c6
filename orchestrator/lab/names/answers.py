"""What an authoritative name server answers to a query: a pure function of a zone and a message."""

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from orchestrator.lab.names.zones import Record, Zone

# Short, so that a resolver that asked too early asks again soon; seconds.
NEGATIVE_TTL = 5
TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)


def answer(zone: Zone, query: dns.message.Message) -> dns.message.Message:
    """The response: REFUSED outside the zone, NXDOMAIN for no name, an empty NOERROR for no type."""
    response = dns.message.make_response(query)
    if len(query.question) != 1:
        response.set_rcode(dns.rcode.FORMERR)
        return response
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    if name not in zone or question.rdclass != dns.rdataclass.IN or question.rdtype in TRANSFERS:
        response.set_rcode(dns.rcode.REFUSED)
        return response
    response.flags |= dns.flags.AA
    found = _resolve(zone, name, question.rdtype)
    if found:
        response.answer = found
        response.additional = _targets(zone, found)
    else:
        response.authority = [soa(zone)]
        if not zone.exists(name):
            response.set_rcode(dns.rcode.NXDOMAIN)
    return response


def soa(zone: Zone) -> dns.rrset.RRset:
    value = f"ns.{zone.name}. hostmaster.{zone.name}. {zone.serial} 3600 600 86400 {NEGATIVE_TTL}"
    return dns.rrset.from_text(f"{zone.name}.", NEGATIVE_TTL, "IN", "SOA", value)


def _resolve(zone: Zone, name: str, rdtype: dns.rdatatype.RdataType) -> list[dns.rrset.RRset]:
    """The record sets that answer, following aliases inside the zone."""
    found: list[dns.rrset.RRset] = []
    seen: set[str] = set()
    while name in zone and name not in seen:
        seen.add(name)
        records = zone.records(name)
        matching = [r for r in records if rdtype == dns.rdatatype.ANY or r.type == dns.rdatatype.to_text(rdtype)]
        alias = next((r for r in records if r.type == "CNAME"), None)
        if matching or alias is None:
            return found + _rrsets(matching) + _own(zone, name, rdtype)
        found += _rrsets([alias])
        name = alias.value
    return found


def _own(zone: Zone, name: str, rdtype: dns.rdatatype.RdataType) -> list[dns.rrset.RRset]:
    """What every zone has of its own: SOA and NS at the top and the address of its name server."""
    own: list[dns.rrset.RRset] = []
    if name == zone.name:
        own = [soa(zone), dns.rrset.from_text(f"{name}.", 3600, "IN", "NS", f"ns.{name}.")]
    elif name == f"ns.{zone.name}":
        own = [dns.rrset.from_text(f"{name}.", 3600, "IN", "A", zone.address)]
    return [rrset for rrset in own if rdtype in (rrset.rdtype, dns.rdatatype.ANY)]


def _rrsets(records: list[Record]) -> list[dns.rrset.RRset]:
    sets: dict[tuple[str, str], dns.rrset.RRset] = {}
    for record in records:
        fresh = dns.rrset.from_rdata(dns.name.from_text(record.name), record.served_ttl, record.rdata())
        known = sets.setdefault((record.name, record.type), fresh)
        # RFC 2181 5.2: one TTL for a set; add() keeps the lowest.
        known.add(record.rdata(), record.served_ttl)
    return list(sets.values())


def _targets(zone: Zone, found: list[dns.rrset.RRset]) -> list[dns.rrset.RRset]:
    """The addresses of SRV targets in this zone, which save the client a second query (RFC 2782)."""
    names = {
        rdata.target.to_text(omit_final_dot=True).lower()
        for rrset in found
        if rrset.rdtype == dns.rdatatype.SRV
        for rdata in rrset
    }
    return [rrset for name in sorted(names) for rrset in _rrsets(zone.records(name, "A"))]
