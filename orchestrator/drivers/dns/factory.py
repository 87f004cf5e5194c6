"""From an entry of `hostwright_dns` to its driver."""

from __future__ import annotations

import re

from orchestrator.domain.errors import Code
from orchestrator.drivers.dns.base import DnsDriver, Provider
from orchestrator.drivers.dns.cloudflare import Cloudflare
from orchestrator.drivers.dns.rfc2136 import Rfc2136
from orchestrator.drivers.dns.technitium import Technitium
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets

# A mark is also a TXT record's text: no quotes, no escapes.
UNQUOTABLE = re.compile(r"[^A-Za-z0-9_.-]")
DRIVERS = ("technitium", "cloudflare", "rfc2136")


def open_driver(provider: Provider, secrets: Secrets, *, server_id: str, timeout: float) -> DnsDriver:
    """Raises PhaseError: an unknown driver, a missing secret, an incomplete entry."""
    if provider.driver not in DRIVERS:
        known = ", ".join(DRIVERS)
        raise PhaseError(
            Code.INTERNAL,
            f"hostwright_dns entry {provider.name}: unknown driver {provider.driver}; known: {known}",
        )
    secret = secrets.get(provider.secret)
    mark = mark_of(server_id)
    if provider.driver == "technitium":
        return Technitium(provider, mark, token=secret, timeout=timeout)
    if provider.driver == "cloudflare":
        return Cloudflare(provider, mark, token=secret, timeout=timeout)
    return Rfc2136(provider, mark, key=secret, timeout=timeout)


def mark_of(server_id: str) -> str:
    """Our ownership mark; a comment at Cloudflare's free plan holds 100 characters."""
    return f"Managed by Hostwright. instance={UNQUOTABLE.sub('', server_id)}"[:100]
