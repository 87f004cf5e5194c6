"""The server's registration at its proxy. It is recorded before.

Arguments: proxy (`hostwright_proxy` or `hostwright_entry_points`), server, timeout (seconds). To be delegated to the
host of the proxy, if it names one.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction
from hostwright_ansible.server import SERVER, registration

from orchestrator.drivers.edge.recorded import wait_until_recorded
from orchestrator.drivers.proxy.factory import open_proxy, parse_proxy, publications_of
from orchestrator.drivers.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "proxy": {"type": "dict", "required": True},
        "server": SERVER,
        "timeout": {"type": "float", "default": 20.0},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        proxy, wanted = parse_proxy(args["proxy"]), registration(args["server"])
        driver = open_proxy(proxy, secrets, run=self.run_module, timeout=args["timeout"])
        if not check:
            wait_until_recorded(publications_of(proxy, wanted))
        changed = driver.ensure(wanted, check=check)
        verb = f"{'would be ' if check else ''}registered" if changed else "stays registered"
        return {"changed": changed, "progress": f"{wanted.name} {verb}: {wanted.value}"}
