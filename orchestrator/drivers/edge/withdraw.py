"""Removes what was published, from its record: with today's providers, proxies and secrets, and nothing beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.domain.publications import Publication
from orchestrator.drivers.dns import factory as dns
from orchestrator.drivers.proxy import factory as proxies
from orchestrator.drivers.proxy.base import Proxy
from orchestrator.drivers.proxy.http import PLACE
from orchestrator.drivers.proxy.traefik import DRIVER as TRAEFIK
from orchestrator.drivers.proxy.traefik import place_of
from orchestrator.drivers.remote import RunModule
from orchestrator.drivers.result import PhaseError, join_failures
from orchestrator.drivers.secrets import Secrets

Group = Sequence[Publication]
"""Publications of one driver at one place."""


@dataclass(frozen=True)
class Site:
    """What the inventory says today of the places, and how a task reaches them.

    `run` reaches `host` of the inventory, if the task is delegated to one; `timeout` in seconds bounds each request,
    `quiet` each wait for a provider or proxy that asks to be left alone.
    """

    server_id: str
    secrets: Secrets
    run: RunModule
    timeout: float
    check: bool
    providers: Sequence[Mapping[str, Any]] = ()
    proxy: Mapping[str, Any] = field(default_factory=dict)
    host: str = ""
    quiet: float = math.inf

    def remove(self, group: Group) -> bool:
        """True when something of ours was there. Raises PhaseError, also when the inventory no longer has the place."""
        driver = group[0].driver
        if driver in dns.DRIVERS:
            return self._remove_records(group)
        if driver == TRAEFIK:
            return self._remove_files(group)
        if (driver, group[0].place) == (self.proxy.get("driver"), PLACE):
            return self._unregister(proxies.parse_proxy(self.proxy), group)
        raise missing(group, f"hostwright_proxy no longer names {driver}")

    def _remove_records(self, group: Group) -> bool:
        driver, (name, _, zone) = group[0].driver, group[0].place.rpartition("/")
        for entry in self.providers:
            if (entry.get("name"), entry.get("driver")) == (name, driver):
                # The zone is the recorded one; all else may have changed since.
                provider = dns.parse_provider({**entry, dns.DRIVERS[driver].ZONE: zone})
                opened = dns.open_driver(
                    provider, self.secrets, server_id=self.server_id, timeout=self.timeout, quiet=self.quiet
                )
                return opened.remove(group, check=self.check)
        raise missing(group, f"hostwright_dns no longer has the entry {name} with driver {driver}")

    def _remove_files(self, group: Group) -> bool:
        host, directory = place_of(group[0])
        if host != self.host:
            raise missing(group, f"the inventory no longer has the host {host}, with the directory {directory}")
        return self._unregister(Proxy(TRAEFIK, host=host, directory=directory), group)

    def _unregister(self, proxy: Proxy, group: Group) -> bool:
        opened = proxies.open_proxy(proxy, self.secrets, run=self.run, timeout=self.timeout, quiet=self.quiet)
        return opened.remove(group, self.server_id, check=self.check)


@dataclass
class Withdrawal:
    """`gone` leads nobody anywhere any more; each of `failures` says what is still there."""

    gone: list[Publication] = field(default_factory=list)
    failures: list[PhaseError] = field(default_factory=list)
    changed: bool = False

    def as_result(self, *, check: bool) -> dict[str, Any]:
        """The result of a task. Raises PhaseError with every failure, which tells of what is gone too."""
        gone = {"withdrawn": [] if check else [one.as_dict() for one in self.gone]}
        if self.failures:
            raise join_failures(self.failures, self.failures[0].code, changed=self.changed, more=gone)
        return {"changed": self.changed, **gone}


def withdraw(publications: Sequence[Publication], remove: Callable[[Group], bool]) -> Withdrawal:
    """Registrations go before records, in whichever order they were recorded. Each place is tried."""
    done = Withdrawal()
    places = dict.fromkeys((one.driver, one.place) for one in publications)
    for place in sorted(places, key=lambda place: place[0] in dns.DRIVERS):
        group = [one for one in publications if (one.driver, one.place) == place]
        try:
            done.changed |= remove(group)
        except PhaseError as failure:
            done.changed |= failure.changed
            done.failures.append(failure)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            # Whatever an answer holds, the other places are still tried.
            words = f"{' '.join(place)} answered what we cannot read ({type(error).__name__}: {error})"
            done.failures.append(PhaseError(_code(group), words))
        else:
            done.gone += group
    return done


def missing(group: Group, where: str) -> PhaseError:
    """The failure for publications whose place the inventory no longer has; `where` says what is missing."""
    what = ", ".join(dict.fromkeys(f"{one.type} {one.name}" for one in sorted(group)))
    return PhaseError(_code(group), f"{where}, which still has {what}: put it back until that is gone")


def _code(group: Group) -> Code:
    return Code.DNS_FAILED if group[0].driver in dns.DRIVERS else Code.VELOCITY_FAILED


def place_name(publication: Publication) -> str:
    """For a message: the entry of `hostwright_dns`, or the kind of proxy."""
    driver = publication.driver
    return publication.place.rpartition("/")[0] if driver in dns.DRIVERS else driver


def parse_publications(entries: Sequence[Mapping[str, Any]]) -> list[Publication]:
    """Raises PhaseError `internal` for what is none."""
    try:
        return [Publication.from_dict(entry) for entry in entries]
    except ValueError as error:
        raise PhaseError(Code.INTERNAL, str(error)) from None
