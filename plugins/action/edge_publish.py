"""Make what edge_plan planned: the records at every DNS provider, then the registration. All is recorded before.

To be delegated to the host of the proxy, if it names one. Every provider is tried, then each failure is named; the
proxy follows when none failed. Use it with `until: result.done`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hostwright_ansible.patient import QUIET, PatientAction
from hostwright_ansible.server import SERVER, registration

from orchestrator.domain.errors import Code
from orchestrator.drivers.dns.factory import parse_providers
from orchestrator.drivers.edge.plan import plan
from orchestrator.drivers.edge.publish import CHANGED, publish_records, register
from orchestrator.drivers.edge.recorded import wait_until_recorded
from orchestrator.drivers.proxy.factory import open_proxy, parse_proxy
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets


class ActionModule(PatientAction):
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "providers": {"type": "list", "elements": "dict", "required": True},
        "proxy": {"type": "dict", "required": True},
        "server": SERVER,
        "timeout": {"type": "float", "default": 20.0},
        "limit": {"type": "float", "default": 120.0},
        "record_timeout": {"type": "float", "default": 120.0},
    }

    def attempt(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        if not args["server"]["address"] and not check:
            raise PhaseError(
                Code.INTERNAL, "there is no address to publish: run wait_for_ip before, or give -e address=…"
            )
        providers, proxy = parse_providers(args["providers"]), parse_proxy(args["proxy"])
        wanted, service, timeout = registration(args["server"]), args["server"]["service"], args["timeout"]
        driver = open_proxy(proxy, secrets, run=self.run_module, timeout=timeout, quiet=QUIET)
        if not check:
            wait_until_recorded(plan(providers, proxy, wanted, service), args["record_timeout"])
        outcomes = publish_records(providers, wanted, service, secrets, timeout=timeout, quiet=QUIET, check=check)
        outcomes |= {proxy.driver: register(driver, wanted, changed=CHANGED in outcomes.values(), check=check)}
        return {
            "changed": CHANGED in outcomes.values(),
            "places": outcomes,
            "progress": _sentence(wanted.name, outcomes, check=check),
        }


def _sentence(hostname: str, outcomes: dict[str, str], *, check: bool) -> str:
    verb = "would be published" if check else "published"
    return f"{hostname} {verb}: " + ", ".join(f"{name} {what}" for name, what in outcomes.items())
