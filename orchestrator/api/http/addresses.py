"""The address that a request comes from: the peer's, or one that a trusted proxy names. Pure."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Networks = Sequence[IPv4Network | IPv6Network]


def client_address(peer: str | None, forwarded_for: str | None, trusted: Networks) -> str | None:
    """Find the client's address. Of X-Forwarded-For only what trusted proxies wrote is believed."""
    found = _parse(peer)
    hops = [hop.strip() for hop in (forwarded_for or "").split(",") if hop.strip()]
    while found is not None and hops and _is_in(found, trusted):
        named = _parse(hops.pop())
        if named is None:
            break
        found = named
    return None if found is None else str(found)


def is_trusted(peer: str | None, trusted: Networks) -> bool:
    """Whether a request comes from a trusted proxy itself."""
    found = _parse(peer)
    return found is not None and _is_in(found, trusted)


def _is_in(found: IPv4Address | IPv6Address, networks: Networks) -> bool:
    return any(found in network for network in networks)


def _parse(text: str | None) -> IPv4Address | IPv6Address | None:
    """Read an address. One with a scope means nothing elsewhere and is none; a mapped IPv4 address becomes IPv4."""
    try:
        found = ip_address(text or "")
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        return None if found.scope_id is not None else found.ipv4_mapped or found
    return found
