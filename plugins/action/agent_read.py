"""What the agent of an instance says of itself, for a person or a test: its /status, as `status`."""

from __future__ import annotations

from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction

from orchestrator.domain.errors import Code
from orchestrator.drivers.agent.client import open_agent, unreachable
from orchestrator.drivers.httpjson import HttpError
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "address": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
        "secret": {"type": "str", "no_log": False},
        "master_secret": {"type": "str", "no_log": False},
        "server_id": {"type": "str"},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        try:
            return {"status": open_agent(args, secrets).status()}
        except HttpError as error:
            raise PhaseError(Code.AGENT_UNREACHABLE, unreachable(args["address"], error).message) from None
