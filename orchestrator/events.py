"""What an event of ansible-runner means to us: pure functions, tested on recorded event streams.

Phases are keyed on the play's name, because a nested role changes `role` but never the play. A failed task is only a
candidate for the operation's error (a rescued failure looks the same); the run's own status is the verdict.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import Code
from orchestrator.models import Failure
from orchestrator.phases import Phase
from orchestrator.store.leases import Logged, PhaseEntered, Retried, Update

Event = Mapping[str, Any]

_MESSAGE_CHARACTERS = 2000
_DETAIL_CHARACTERS = 8000

_BEGINNINGS: dict[Phase, str] = {
    Phase.CLONE_CONTAINER: "cloning the template",
    Phase.CONFIGURE_CONTAINER: "setting memory, cores and network",
    Phase.START_CONTAINER: "starting the container",
    Phase.WAIT_FOR_IP: "waiting for an address",
    Phase.BUILD_AGENT_PAYLOAD: "building the agent's configuration",
    Phase.SEND_AGENT_CONFIG: "sending the configuration to the agent",
    Phase.WAIT_FOR_AGENT: "the agent installs and starts",
    Phase.PUBLISH_EDGE: "publishing DNS and proxy, then joining as a player would",
    Phase.UNPUBLISH_EDGE: "removing proxy registration and DNS records",
    Phase.STOP_CONTAINER: "stopping the container",
    Phase.DELETE_CONTAINER: "deleting the container",
}


@dataclass(frozen=True)
class AddressSeen:
    """The container has this address."""

    address: str


def phase_of(event: Event) -> Phase | None:
    """The phase an event belongs to, or None for an event outside the phases."""
    name = event.get("event_data", {}).get("play")
    try:
        return Phase(name)
    except ValueError:
        return None


def to_update(event: Event) -> Update | AddressSeen | Failure | None:
    """The one thing an event tells us, or None when it tells nothing."""
    phase = phase_of(event)
    if phase is None:
        return None
    match event.get("event"):
        case "playbook_on_play_start":
            return PhaseEntered(phase, _BEGINNINGS.get(phase, phase.value))
        case "runner_retry":
            return Retried(phase, int(_result(event).get("attempts", 1)))
        case "runner_on_ok":
            return _from_ok(phase, _result(event))
        case "runner_on_failed" if not event["event_data"].get("ignore_errors"):
            return _from_failed(phase, event)
        case "runner_on_unreachable":
            return _from_failed(phase, event)
    return None


def _from_ok(phase: Phase, result: Mapping[str, Any]) -> Update | AddressSeen | None:
    if phase is Phase.WAIT_FOR_IP and isinstance(result.get("address"), str):
        return AddressSeen(result["address"])
    progress = result.get("progress")
    if isinstance(progress, str) and progress:
        return Logged(phase, "info", _short(progress))
    return None


def _from_failed(phase: Phase, event: Event) -> Failure:
    result = _result(event)
    detail = result.get("detail")
    if isinstance(detail, dict) and len(json.dumps(detail, default=str)) > _DETAIL_CHARACTERS:
        detail = {"truncated": json.dumps(detail, default=str)[:_DETAIL_CHARACTERS]}
    message = result.get("msg")
    return Failure(
        code=_code(result.get("code")),
        phase=phase,
        task=event["event_data"].get("task"),
        message=_short(message if isinstance(message, str) and message else "the task failed without a reason"),
        detail=detail if isinstance(detail, dict) else None,
    )


def _result(event: Event) -> Mapping[str, Any]:
    result = event.get("event_data", {}).get("res")
    return result if isinstance(result, dict) else {}


def _code(value: Any) -> Code:
    try:
        return Code(value)
    except ValueError:
        return Code.INTERNAL


def _short(text: str) -> str:
    """One bounded line: an event's text may hold what a customer or an agent wrote."""
    line = " ".join(text.replace("\0", "").split())
    return line if len(line) <= _MESSAGE_CHARACTERS else line[: _MESSAGE_CHARACTERS - 1] + "…"
