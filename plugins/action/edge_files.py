"""Remove what was published as files on one host, by its record; an answer for edge_withdraw, whatever it is.

What failed is a part of the result, because the task is one of several in a loop: edge_withdraw fails for all of them,
after it has removed the rest. It does so too when Ansible could not begin this task at all.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction

from orchestrator.drivers.edge.withdraw import Site, parse_publications, withdraw
from orchestrator.drivers.proxy.traefik import is_on
from orchestrator.drivers.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "host": {"type": "str", "required": True},
        "publications": {"type": "list", "elements": "dict", "required": True},
        "server_id": {"type": "str", "required": True},
        "timeout": {"type": "float", "default": 20.0},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        host = args["host"]
        site = Site(args["server_id"], secrets, self.run_module, args["timeout"], check, host=host)
        here = [one for one in parse_publications(args["publications"]) if is_on(one, host)]
        done = withdraw(here, site.remove)
        return {
            "changed": done.changed,
            "gone": [one.as_dict() for one in done.gone],
            "failures": [{"code": failure.code.value, "message": failure.message} for failure in done.failures],
        }
