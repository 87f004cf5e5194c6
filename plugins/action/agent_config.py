"""Give the agent its configuration unless it has it; `until: result.done` waits for one that is busy. One that
runs with another configuration is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction

from orchestrator.domain.errors import Code
from orchestrator.drivers.agent.client import WINDOW, as_result, is_last, open_agent, unreachable, watch, window
from orchestrator.drivers.agent.status import Verdict, holds, occupied
from orchestrator.drivers.httpjson import HttpError, Reply
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "address": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
        "payload": {"type": "dict", "required": True},
        "secret": {"type": "str", "no_log": False},
        "master_secret": {"type": "str", "no_log": False},
        "server_id": {"type": "str"},
        "window": {"type": "float", "default": WINDOW},
        "deadline": {"type": "float"},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        if check and not args["address"]:
            # A container that would be made has no address yet.
            return {"changed": True, "done": True, "progress": "would send the configuration"}
        agent = open_agent(args, secrets)
        payload: Mapping[str, Any] = args["payload"]
        if not payload.get("vmid"):
            raise PhaseError(Code.INTERNAL, "there is no payload to send: run build_agent_payload before")

        def look(wait: int) -> Verdict:
            try:
                status = agent.status(wait=wait)
                if holds(status, payload):
                    return Verdict(True, None, "", "the agent already has this configuration")
                if (refusal := occupied(status, payload)) is not None:
                    return refusal
                if check:
                    return _accepted("would send the configuration")
                return _verdict(agent.configure(payload))
            except HttpError as error:
                return unreachable(args["address"], error)

        if check:
            return _accepted_or_unknown(look(0))
        return as_result(watch(look, window(args)), last=is_last(args))


def _verdict(reply: Reply) -> Verdict:
    """What the answer to POST /config means."""
    words = reply.words()
    if reply.ok:
        return _accepted(f"the agent took the configuration and is {reply.member('state') or 'working on it'}")
    if reply.status == 409:
        message = f"the agent stayed busy with another configuration: {words}"
        return Verdict(False, Code.AGENT_TIMEOUT, message, f"agent busy: {words}")
    if reply.status >= 500 or reply.status == 429:
        message = f"the agent could not take the configuration ({reply.status}): {words}"
        return Verdict(False, Code.AGENT_ERROR, message, f"agent answers {reply.status}")
    detail = {"status": reply.status, "answer": words}
    return Verdict(True, Code.AGENT_REJECTED, f"the agent refuses the configuration: {words}", words, detail)


def _accepted(progress: str) -> Verdict:
    return Verdict(True, None, "", progress, changed=True)


def _accepted_or_unknown(verdict: Verdict) -> dict[str, Any]:
    """In check mode an agent that does not run yet is no failure: the configuration would be sent later."""
    return as_result(verdict if verdict.done else _accepted("would send the configuration"))
