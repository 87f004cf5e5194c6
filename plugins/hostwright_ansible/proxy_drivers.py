"""From `hostwright_proxy` to its driver."""

from __future__ import annotations

from hostwright_ansible.proxy_driver import Proxy, ProxyDriver
from hostwright_ansible.proxy_mcrouter import McRouter
from hostwright_ansible.proxy_zpack import ZpackBridge
from hostwright_ansible.result import PhaseError
from hostwright_ansible.secrets import Secrets

DRIVERS = ("zpack-bridge", "mc-router")


def open_proxy(proxy: Proxy, secrets: Secrets, *, timeout: float) -> ProxyDriver:
    """Raises PhaseError: an unknown driver or a missing secret."""
    if proxy.driver == "zpack-bridge":
        return ZpackBridge(proxy, secret=secrets.get(proxy.secret), timeout=timeout)
    if proxy.driver == "mc-router":
        # Without one of its own; a front of it may ask for a bearer token.
        secret = secrets.get(proxy.secret) if proxy.secret else None
        return McRouter(proxy, secret=secret, timeout=timeout)
    known = ", ".join(DRIVERS)
    raise PhaseError("internal", f"hostwright_proxy: unknown driver {proxy.driver}; known: {known}")
