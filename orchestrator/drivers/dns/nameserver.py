"""Questions to one chosen name server: no resolver, no cache and no search list in between."""

from __future__ import annotations

import socket
import time
from functools import lru_cache

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset

from orchestrator.drivers.dns.records import Record, canonical

PORT = 53
# A datagram may get lost; the next one is sent after this many seconds.
TRY_TIMEOUT = 1.0


class NameserverError(Exception):
    """No usable answer; the text says which server said what."""


def split(nameserver: str) -> tuple[str, int]:
    """Address and port of `address`, `address:port` or `[address]:port`; a name becomes its address.

    Raises NameserverError when the name has none.
    """
    host, _, port = nameserver.rpartition(":") if _has_port(nameserver) else (nameserver, "", str(PORT))
    return _address(host.strip("[]")), int(port)


def _has_port(nameserver: str) -> bool:
    return nameserver.count(":") == 1 or "]:" in nameserver


@lru_cache
def _address(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, PORT, type=socket.SOCK_DGRAM)[0][4][0])
    except OSError as error:
        raise NameserverError(f"name server {host} has no address: {error.strerror}") from None


def lookup(nameserver: str, name: str, kind: str, timeout: float) -> list[tuple[str, int]]:
    """Values (as in Record) and TTLs of the record set, also at the end of an alias; empty when there is none.

    Raises NameserverError for silence and for any code but NOERROR and NXDOMAIN.
    """
    found = _records(_answer(nameserver, name, kind, timeout))
    return [(one.value, one.ttl) for one in found if one.type == kind]


def read(nameserver: str, name: str, kind: str, timeout: float) -> list[Record]:
    """What is at this very name: the record set, or the alias in its place.

    Raises NameserverError as `lookup`, and for an answer without authority: a referral or a cache may know of no record
    that is there all the same.
    """
    response = _answer(nameserver, name, kind, timeout)
    if not response.flags & dns.flags.AA:
        raise NameserverError(f"{nameserver} answers without authority for {name} {kind}")
    return [one for one in _records(response) if one.name == canonical(name)]


def _answer(nameserver: str, name: str, kind: str, timeout: float) -> dns.message.Message:
    address, port = split(nameserver)
    response = _ask(dns.message.make_query(name, kind), address, port, timeout)
    if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise NameserverError(f"{nameserver} answers {dns.rcode.to_text(response.rcode())} for {name} {kind}")
    return response


def _records(response: dns.message.Message) -> list[Record]:
    return [_record(rrset, rdata) for rrset in response.answer for rdata in rrset]


def _record(rrset: dns.rrset.RRset, rdata: dns.rdata.Rdata) -> Record:
    kind, text = dns.rdatatype.to_text(rrset.rdtype), rdata.to_text()
    value = text.strip('"') if kind == "TXT" else canonical(text)
    return Record(canonical(rrset.name.to_text()), kind, value, int(rrset.ttl))


def _ask(query: dns.message.Message, address: str, port: int, timeout: float) -> dns.message.Message:
    deadline = time.monotonic() + timeout
    while True:
        remaining = deadline - time.monotonic()
        try:
            response, _ = dns.query.udp_with_fallback(
                query, address, timeout=min(max(remaining, 0.05), TRY_TIMEOUT), port=port
            )
        except (dns.exception.Timeout, OSError) as error:
            if deadline - time.monotonic() > TRY_TIMEOUT:
                continue
            words = "does not answer" if isinstance(error, dns.exception.Timeout) else f"cannot be asked: {error}"
            raise NameserverError(f"name server {address}:{port} {words}") from None
        except dns.exception.DNSException as error:
            raise NameserverError(f"name server {address}:{port} answers nonsense: {error}") from None
        return response
