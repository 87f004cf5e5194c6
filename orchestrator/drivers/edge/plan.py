"""What will be published of an instance by today's configuration. No request is made for it."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.domain.publications import Publication
from orchestrator.drivers.dns import factory as dns
from orchestrator.drivers.dns.base import Provider
from orchestrator.drivers.proxy import factory as proxies
from orchestrator.drivers.proxy.base import Proxy, Registration


def plan(providers: Iterable[Provider], proxy: Proxy, wanted: Registration, service: str) -> list[Publication]:
    """The records at every provider, then the registration. Raises PhaseError for a name that cannot be published."""
    records = [one for provider in providers for one in plan_records(provider, wanted, service)]
    return [*records, *proxies.publications_of(proxy, wanted)]


def plan_records(provider: Provider, wanted: Registration, service: str) -> list[Publication]:
    """The records at one provider."""
    where = provider.names(wanted.name, service, wanted.protocol)
    return dns.publications_of(provider, where, provider.records(where, wanted.public_port), wanted.server_id)
