"""The A and SRV record of one instance at every DNS provider, present or absent.

Arguments: providers (`hostwright_dns`), hostname (short), service, protocol, port, server_id, state, timeout
(seconds a request may take with its retries). Every provider is tried, then each failure is named.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction

from orchestrator.drivers.dns.base import CODE, Provider
from orchestrator.drivers.dns.factory import open_driver
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "providers": {"type": "list", "elements": "dict", "required": True},
        "hostname": {"type": "str", "required": True},
        "service": {"type": "str", "required": True},
        "protocol": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
        "server_id": {"type": "str", "required": True},
        "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
        "timeout": {"type": "float", "default": 20.0},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        outcomes: dict[str, str] = {}
        failures: list[PhaseError] = []
        for provider in [Provider.parse(entry) for entry in args["providers"]]:
            try:
                changed = _apply(provider, args, secrets, check=check)
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
        return {"changed": any_change, "providers": outcomes, "progress": _sentence(args, outcomes, check=check)}


def _apply(provider: Provider, args: dict[str, Any], secrets: Secrets, *, check: bool) -> bool:
    where = provider.names(args["hostname"], args["service"], args["protocol"])
    driver = open_driver(provider, secrets, server_id=args["server_id"], timeout=args["timeout"])
    try:
        if args["state"] == "absent":
            return driver.remove(where, check=check)
        return driver.ensure(where, provider.records(where, args["port"]), check=check)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # Whatever an answer holds, it is this provider's failure, and the others are still tried.
        raise provider.failure(f"answered a record we cannot read ({type(error).__name__}: {error})") from None


def _sentence(args: dict[str, Any], outcomes: dict[str, str], *, check: bool) -> str:
    verb = ("would be " if check else "") + ("published" if args["state"] == "present" else "removed")
    return f"{args['hostname']} {verb}: " + ", ".join(f"{name} {what}" for name, what in outcomes.items())
