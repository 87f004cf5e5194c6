"""From `hostwright_proxy` or `hostwright_entry_points` to its driver."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.domain.publications import Publication
from orchestrator.drivers.proxy.base import Proxy, ProxyDriver, Registration
from orchestrator.drivers.proxy.mcrouter import McRouter
from orchestrator.drivers.proxy.traefik import DRIVER as TRAEFIK
from orchestrator.drivers.proxy.traefik import TraefikFiles
from orchestrator.drivers.proxy.zpack import ZpackBridge
from orchestrator.drivers.remote import RunModule
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets

DRIVERS: Mapping[str, type[ProxyDriver]] = {"zpack-bridge": ZpackBridge, "mc-router": McRouter, TRAEFIK: TraefikFiles}


def parse_proxy(entry: Mapping[str, Any]) -> Proxy:
    """Raises PhaseError `internal` for a mistake in the inventory."""
    driver = DRIVERS.get(str(entry.get("driver")))
    unknown = sorted(set(entry) - {field.name for field in fields(Proxy)})
    missing = [name for name in ("driver", *(driver.NEEDS if driver else ())) if not entry.get(name)]
    problem = ""
    if unknown or missing:
        problem = f"unknown {', '.join(unknown)}" if unknown else f"missing {', '.join(missing)}"
    elif driver is None:
        problem = f"unknown driver {entry['driver']}; known: {', '.join(DRIVERS)}"
    elif entry.get("encoding", "json") not in ("json", "form"):
        problem = "encoding is neither json nor form"
    if problem:
        raise PhaseError(Code.INTERNAL, f"hostwright_proxy or hostwright_entry_points is wrong: {problem}")
    return Proxy(**{str(name): value for name, value in entry.items()})


def require_host(proxy: Proxy, hosts: Collection[str]) -> None:
    """Raises PhaseError `internal` for a host outside the inventory, whose files nobody could remove again."""
    if proxy.host and proxy.host not in hosts:
        message = (
            f"hostwright_entry_points names the host {proxy.host}, which the inventory does not have: add it there"
        )
        raise PhaseError(Code.INTERNAL, message)


def open_proxy(
    proxy: Proxy, secrets: Secrets, *, run: RunModule, timeout: float, quiet: float = math.inf
) -> ProxyDriver:
    """`run` reaches the host that the task is delegated to; `timeout` and `quiet` are as ProxyDriver says.

    Raises PhaseError for a missing secret.
    """
    secret = secrets.get(proxy.secret) if proxy.secret else ""
    return DRIVERS[proxy.driver](proxy, secret=secret, run=run, timeout=timeout, quiet=quiet)


def publications_of(proxy: Proxy, wanted: Registration) -> list[Publication]:
    """What ensuring this registration publishes."""
    return DRIVERS[proxy.driver].publications(proxy, wanted)
