"""Start a container of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction

from orchestrator.drivers.proxmox.arguments import COMMON, open_session
from orchestrator.drivers.proxmox.power import start
from orchestrator.drivers.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[Mapping[str, Any]] = {**COMMON, "server_id": {"type": "str", "required": True}}

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        with open_session(args, secrets) as session:
            return start(session, args["server_id"], check=check)
