"""Delete a stopped container of ours and everything of its own, or abort the clone that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction

from orchestrator.drivers.proxmox.arguments import COMMON, open_session
from orchestrator.drivers.proxmox.delete import delete
from orchestrator.drivers.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[Mapping[str, Any]] = {
        **COMMON,
        "server_id": {"type": "str", "required": True},
        "clone_upid": {"type": "str", "default": ""},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        with open_session(args, secrets) as session:
            return delete(session, args["server_id"], args["clone_upid"], check=check)
