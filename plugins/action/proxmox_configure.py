"""Give a container of ours its resources, network, name, tags and disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction

from orchestrator.drivers.proxmox.arguments import COMMON, open_session
from orchestrator.drivers.proxmox.configure import Wanted, configure
from orchestrator.drivers.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[Mapping[str, Any]] = {
        **COMMON,
        "server_id": {"type": "str", "required": True},
        "hostname": {"type": "str", "required": True},
        "cores": {"type": "int", "required": True},
        "memory_mib": {"type": "int", "required": True},
        "bridge": {"type": "str", "required": True},
        "interface": {"type": "str", "required": True},
        "disk_gib": {"type": "int", "default": 0},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        wanted = Wanted(
            server_id=args["server_id"],
            hostname=args["hostname"],
            cores=args["cores"],
            memory_mib=args["memory_mib"],
            bridge=args["bridge"],
            interface=args["interface"],
            disk_gib=args["disk_gib"],
        )
        with open_session(args, secrets) as session:
            return configure(session, wanted, check=check)
