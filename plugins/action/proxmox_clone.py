"""Clone a template into a VMID that is free, or already ours.

Arguments: proxmox (`hostwright_proxmox`), vmid, timeout (seconds), template, hostname, server_id,
operation_id, full, storage, pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction
from hostwright_ansible.clone import Order, clone
from hostwright_ansible.proxmox import COMMON, open_session
from hostwright_ansible.secrets import Secrets


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
            return clone(session, order, check=check)
