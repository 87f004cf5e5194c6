"""From the entries of `hostwright_dns` to their drivers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.domain.publications import Publication
from orchestrator.drivers.dns.base import DnsDriver, Provider
from orchestrator.drivers.dns.cloudflare import Cloudflare
from orchestrator.drivers.dns.marks import mark_of
from orchestrator.drivers.dns.records import Names, Record, canonical
from orchestrator.drivers.dns.rfc2136 import Rfc2136
from orchestrator.drivers.dns.technitium import Technitium
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets

DRIVERS: Mapping[str, type[DnsDriver]] = {"technitium": Technitium, "cloudflare": Cloudflare, "rfc2136": Rfc2136}
_NEEDED = tuple(field.name for field in fields(Provider) if field.default is MISSING)


def parse_providers(entries: Iterable[Mapping[str, Any]]) -> list[Provider]:
    """Raises PhaseError `internal` for two entries of one name, and as parse_provider does."""
    providers = [parse_provider(entry) for entry in entries]
    names = [provider.name for provider in providers]
    if twice := {name for name in names if names.count(name) > 1}:
        raise PhaseError(Code.INTERNAL, f"hostwright_dns has two entries named {min(twice)}: name each differently")
    return providers


def parse_provider(entry: Mapping[str, Any]) -> Provider:
    """Raises PhaseError `internal` for an unknown driver, and for an unknown or missing member."""
    driver = DRIVERS.get(str(entry.get("driver")))
    unknown = sorted(set(entry) - {field.name for field in fields(Provider)})
    missing = [name for name in (*_NEEDED, *(driver.NEEDS if driver else ())) if not entry.get(name)]
    problem = ""
    if unknown or missing:
        problem = f"unknown {', '.join(unknown)}" if unknown else f"missing {', '.join(missing)}"
    elif driver is None:
        problem = f"unknown driver {entry['driver']}; known: {', '.join(DRIVERS)}"
    elif not isinstance(entry.get("exclusive", False), bool):
        problem = "exclusive is neither true nor false"
    if problem:
        raise PhaseError(Code.INTERNAL, f"hostwright_dns entry {entry.get('name')}: {problem}")
    return Provider(**{str(name): value for name, value in entry.items()})


def open_driver(
    provider: Provider, secrets: Secrets, *, server_id: str, timeout: float, quiet: float = math.inf
) -> DnsDriver:
    """Raises PhaseError for a missing secret. `timeout` and `quiet` are in seconds, as DnsDriver says."""
    secret = secrets.get(provider.secret)
    return DRIVERS[provider.driver](provider, mark_of(server_id), secret=secret, timeout=timeout, quiet=quiet)


def publications_of(provider: Provider, where: Names, records: list[Record], server_id: str) -> list[Publication]:
    """What ensuring these records publishes."""
    driver = DRIVERS[provider.driver]
    place = f"{provider.name}/{canonical(getattr(provider, driver.ZONE))}"
    made = driver.marked(records, where, mark_of(server_id))
    return [Publication(provider.driver, place, one.type, one.name, one.value) for one in made]
