"""From `hostwright_proxy` or `hostwright_entry_points` to its driver."""

from __future__ import annotations

from orchestrator.domain.errors import Code
from orchestrator.drivers.proxy.base import NEEDED, Proxy, ProxyDriver
from orchestrator.drivers.proxy.mcrouter import McRouter
from orchestrator.drivers.proxy.traefik import TraefikFiles
from orchestrator.drivers.proxy.zpack import ZpackBridge
from orchestrator.drivers.remote import RunModule
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets


def open_proxy(proxy: Proxy, secrets: Secrets, *, run: RunModule, timeout: float) -> ProxyDriver:
    """Raises PhaseError: an unknown driver or a missing secret."""
    match proxy.driver:
        case "zpack-bridge":
            return ZpackBridge(proxy, secret=secrets.get(proxy.secret), timeout=timeout)
        case "mc-router":
            # Without one of its own; a front of it may ask for a bearer token.
            secret = secrets.get(proxy.secret) if proxy.secret else None
            return McRouter(proxy, secret=secret, timeout=timeout)
        case "traefik":
            return TraefikFiles(proxy, run=run, timeout=timeout)
    raise PhaseError(Code.INTERNAL, f"hostwright_proxy: unknown driver {proxy.driver}; known: {', '.join(NEEDED)}")
