"""Makes what was planned: the records at every provider, then the registration at the proxy."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.drivers.dns.base import CODE, Provider
from orchestrator.drivers.dns.factory import open_driver
from orchestrator.drivers.proxy.base import ProxyDriver, Registration
from orchestrator.drivers.result import PhaseError, join_failures
from orchestrator.drivers.secrets import Secrets

CHANGED, UNCHANGED = "changed", "unchanged"


def publish_records(
    providers: Iterable[Provider],
    wanted: Registration,
    service: str,
    secrets: Secrets,
    *,
    timeout: float,
    quiet: float,
    check: bool,
) -> dict[str, str]:
    """Provider to `changed` or `unchanged`. Raises PhaseError, after every provider was tried, that names each failure.

    `timeout` in seconds bounds each request with its retries, `quiet` each wait for a provider that asks for it.
    """
    outcomes: dict[str, str] = {}
    failures: list[PhaseError] = []
    for provider in providers:
        try:
            changed = _ensure(provider, wanted, service, secrets, timeout=timeout, quiet=quiet, check=check)
            outcomes[provider.name] = CHANGED if changed else UNCHANGED
        except PhaseError as failure:
            failures.append(failure)
            outcomes[provider.name] = failure.message
    if failures:
        # A mistake in the inventory or the secrets is not the provider's.
        code = next((failure.code for failure in failures if failure.code != CODE), CODE)
        changed = CHANGED in outcomes.values() or any(failure.changed for failure in failures)
        raise join_failures(failures, code, changed=changed, providers=outcomes)
    return outcomes


def register(proxy: ProxyDriver, wanted: Registration, *, changed: bool, check: bool) -> str:
    """`changed` or `unchanged`. Raises PhaseError, which says too whether anything was `changed` before."""
    try:
        return CHANGED if proxy.ensure(wanted, check=check) else UNCHANGED
    except PhaseError as failure:
        failure.changed = failure.changed or changed
        raise


def _ensure(
    provider: Provider,
    wanted: Registration,
    service: str,
    secrets: Secrets,
    *,
    timeout: float,
    quiet: float,
    check: bool,
) -> bool:
    where = provider.names(wanted.name, service, wanted.protocol)
    driver = open_driver(provider, secrets, server_id=wanted.server_id, timeout=timeout, quiet=quiet)
    try:
        return driver.ensure(where, provider.records(where, wanted.public_port), check=check)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # Whatever an answer holds, it is this provider's failure, and the others are still tried.
        raise provider.failure(f"answered a record we cannot read ({type(error).__name__}: {error})") from None
