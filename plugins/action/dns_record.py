"""The A and SRV record of one server at every DNS provider, and our mark on them. They are recorded before.

Arguments: providers (`hostwright_dns`), server, timeout (seconds a request may take with its retries). Every provider
is tried, then each failure is named.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction
from hostwright_ansible.server import SERVER, registration

from orchestrator.drivers.dns.base import CODE, Provider
from orchestrator.drivers.dns.factory import open_driver, parse_providers
from orchestrator.drivers.edge.plan import plan_records
from orchestrator.drivers.edge.recorded import wait_until_recorded
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "providers": {"type": "list", "elements": "dict", "required": True},
        "server": SERVER,
        "timeout": {"type": "float", "default": 20.0},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        providers, server = parse_providers(args["providers"]), args["server"]
        if not check:
            wanted, service = registration(server), server["service"]
            wait_until_recorded(one for provider in providers for one in plan_records(provider, wanted, service))
        outcomes: dict[str, str] = {}
        failures: list[PhaseError] = []
        for provider in providers:
            try:
                changed = _ensure(provider, args, secrets, check=check)
                outcomes[provider.name] = "changed" if changed else "unchanged"
            except PhaseError as failure:
                failures.append(failure)
                outcomes[provider.name] = failure.message
        any_change = "changed" in outcomes.values()
        if failures:
            message = "; ".join(failure.message for failure in failures)
            # A mistake in the inventory or the secrets is not the provider's.
            code = next((failure.code for failure in failures if failure.code != CODE), CODE)
            raise PhaseError(code, message, changed=any_change, providers=outcomes)
        return {
            "changed": any_change,
            "providers": outcomes,
            "progress": _sentence(server["hostname"], outcomes, check=check),
        }


def _ensure(provider: Provider, args: dict[str, Any], secrets: Secrets, *, check: bool) -> bool:
    server = args["server"]
    where = provider.names(server["hostname"], server["service"], server["protocol"])
    driver = open_driver(provider, secrets, server_id=server["server_id"], timeout=args["timeout"])
    try:
        return driver.ensure(where, provider.records(where, server["public_port"]), check=check)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # Whatever an answer holds, it is this provider's failure, and the others are still tried.
        raise provider.failure(f"answered a record we cannot read ({type(error).__name__}: {error})") from None


def _sentence(hostname: str, outcomes: dict[str, str], *, check: bool) -> str:
    verb = "would be published" if check else "published"
    return f"{hostname} {verb}: " + ", ".join(f"{name} {what}" for name, what in outcomes.items())
