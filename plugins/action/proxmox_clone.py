"""Clone a template into a VMID that is free, or already ours.

It returns once Proxmox has accepted the clone; a second task with `wait: true` is given the `clone_upid` (as upid) and
`waited` of that result, and waits for the rest of the same timeout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction

from orchestrator.drivers.proxmox.arguments import COMMON, open_session
from orchestrator.drivers.proxmox.clone import Order, begin, clone
from orchestrator.drivers.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[Mapping[str, Any]] = {
        **COMMON,
        "template": {"type": "int", "required": True},
        "hostname": {"type": "str", "required": True},
        "server_id": {"type": "str", "required": True},
        "operation_id": {"type": "str", "required": True},
        "full": {"type": "bool", "default": True},
        "storage": {"type": "str", "default": ""},
        "pool": {"type": "str", "default": ""},
        "wait": {"type": "bool", "default": False},
        "upid": {"type": "str", "default": ""},
        "waited": {"type": "float", "default": 0.0},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        order = Order(
            template=args["template"],
            hostname=args["hostname"],
            server_id=args["server_id"],
            operation_id=args["operation_id"],
            full=args["full"],
            storage=args["storage"] or None,
            pool=args["pool"] or None,
        )
        with open_session(args, secrets) as session:
            if not args["wait"]:
                return begin(session, order, check=check)
            return clone(session, order, check=check, upid=args["upid"])
