"""What will be published of a server: its records at every DNS provider and its registration. Makes no request.

The result is `publishing`, a list of publications (orchestrator/domain/publications.py).
"""

from __future__ import annotations

from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction
from hostwright_ansible.server import SERVER, registration

from orchestrator.drivers.dns.factory import parse_providers
from orchestrator.drivers.edge.plan import plan
from orchestrator.drivers.proxy.factory import parse_proxy, require_host
from orchestrator.drivers.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "providers": {"type": "list", "elements": "dict", "required": True},
        "proxy": {"type": "dict", "required": True},
        "server": SERVER,
        "hosts": {"type": "list", "elements": "str"},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        del secrets, check
        providers, proxy, server = parse_providers(args["providers"]), parse_proxy(args["proxy"]), args["server"]
        if args["hosts"] is not None:
            require_host(proxy, args["hosts"])
        publishing = plan(providers, proxy, registration(server), server["service"])
        return {"publishing": [one.as_dict() for one in publishing]}
