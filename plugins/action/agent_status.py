"""Wait one window for the agent's terminal state; `until: result.done` makes a phase of it."""

from __future__ import annotations

from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction

from orchestrator.drivers.agent.client import WINDOW, as_result, is_last, open_agent, unreachable, watch, window
from orchestrator.drivers.agent.status import Verdict, judge
from orchestrator.drivers.httpjson import HttpError
from orchestrator.drivers.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "address": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
        "vmid": {"type": "int", "required": True},
        "secret": {"type": "str", "no_log": False},
        "master_secret": {"type": "str", "no_log": False},
        "server_id": {"type": "str"},
        "window": {"type": "float", "default": WINDOW},
        "deadline": {"type": "float"},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        if check and not args["address"]:
            # A container that would be made has no address yet.
            return {"changed": False, "done": True, "progress": "would wait for the agent"}
        agent = open_agent(args, secrets)

        def look(wait: int) -> Verdict:
            try:
                return judge(agent.status(wait=wait), args["vmid"])
            except HttpError as error:
                return unreachable(args["address"], error)

        if check:
            return {"changed": False, "done": True, "progress": f"would wait; now {look(0).progress}"}
        return as_result(watch(look, window(args)), last=is_last(args))
