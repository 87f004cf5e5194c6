"""What an agent's answers mean. Pure: a status in, a verdict out.

Agents in the field differ, so unknown states and members are waited through, never failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.drivers.httpjson import short

LOG_LINES = 20
LOG_LINE_LENGTH = 300
# The field's agent restarts a crashed game after 30, 60 and 120 s and then says `error` itself.
CRASHES_TOLERATED = 3
# A count beyond this is none.
MOST_CRASHES = 1 << 31
# States in which an agent holds a configuration but does nothing with it any more.
SEND_AGAIN = frozenset({"idle", "error"})
# The VMID is compared as text; a new order of the same thing carries another one-time URL.
NOT_COMPARED = frozenset({"vmid", "callback_url"})


@dataclass(frozen=True)
class Verdict:
    """`done` ends the wait. `code` is None when all is well, else why it failed, or what a time-out means."""

    done: bool
    code: Code | None
    message: str
    progress: str
    detail: dict[str, Any] = field(default_factory=dict)
    changed: bool = False

    @property
    def failed(self) -> bool:
        return self.done and self.code is not None


def judge(status: Mapping[str, Any], vmid: int) -> Verdict:
    """The verdict over one `/status` answer of the agent in container `vmid`."""
    state = _word(status, "state") or "unknown"
    other = other_vmid(status, vmid)
    if other is not None:
        # A clone copies everything, its template's agent state too.
        message = f"the agent still holds the configuration of {other}, not of {vmid}; send it the configuration"
        return Verdict(False, Code.AGENT_TIMEOUT, message, f"agent holds the configuration of {other}")
    if state == "error":
        return _failure(status, words(status) or "the agent reports an error without a word")
    if state == "crashed" and _count(status) > CRASHES_TOLERATED:
        return _failure(status, f"the game crashed {_count(status)} times: {words(status) or 'no reason given'}")
    if state == "running" and status.get("ready") is True:
        return Verdict(True, None, "the instance runs and is ready", "running and ready")
    return _waiting(status, state)


def other_vmid(status: Mapping[str, Any], vmid: int) -> str | None:
    """The VMID in the agent's configuration when it is another one."""
    config = status.get("config")
    held = config.get("vmid") if isinstance(config, Mapping) else None
    return short(str(held)) if held is not None and str(held) != str(vmid) else None


def holds(status: Mapping[str, Any], payload: Mapping[str, Any]) -> bool:
    """Whether the agent already has this payload and is working on it or with it.

    Agents drop members they do not know and empty ones; what both sides have must be equal.
    """
    return _word(status, "state") not in SEND_AGAIN and differences(status, payload) == []


def differences(status: Mapping[str, Any], payload: Mapping[str, Any]) -> list[str] | None:
    """The members in which the agent's configuration for this VMID is another one; None when it has none for it."""
    config = status.get("config")
    if not isinstance(config, Mapping) or str(config.get("vmid")) != str(payload["vmid"]):
        return None
    shared = set(config) & set(payload) - NOT_COMPARED
    return sorted(name for name in shared if config[name] is not None and config[name] != payload[name])


def occupied(status: Mapping[str, Any], payload: Mapping[str, Any]) -> Verdict | None:
    """The refusal to disturb an agent that runs with this VMID and another configuration: somebody plays there."""
    other = differences(status, payload)
    if status.get("state") != "running" or not other:
        return None
    message = (
        f"the agent of {payload['vmid']} already runs with another configuration (other {', '.join(other)}) and was "
        f"not disturbed: give what it was ordered with, or delete the instance and order anew"
    )
    return Verdict(True, Code.AGENT_REJECTED, message, "agent runs with another configuration", {"differs": other})


def words(status: Mapping[str, Any]) -> str:
    """The agent's own words for what is wrong."""
    for name in ("error", "readyError", "lastCrashReason"):
        value = status.get(name)
        if isinstance(value, str) and value.strip():
            return short(value)
    return ""


def log_tail(status: Mapping[str, Any]) -> list[str]:
    """The last lines of the game's log, bounded."""
    for name in ("lastCrashLogTail", "logTail"):
        lines = status.get(name)
        if isinstance(lines, str):
            lines = lines.splitlines()
        if isinstance(lines, list) and lines:
            return [str(line)[:LOG_LINE_LENGTH] for line in lines[-LOG_LINES:]]
    return []


def _failure(status: Mapping[str, Any], message: str) -> Verdict:
    detail = {
        "state": _word(status, "state"),
        "installStep": _word(status, "installStep"),
        "crashCount": _count(status),
        "logTail": log_tail(status),
    }
    return Verdict(True, Code.AGENT_ERROR, message, f"agent reports: {message}", detail)


def _waiting(status: Mapping[str, Any], state: str) -> Verdict:
    step = _word(status, "installStep")
    progress = f"{state}: {step}" if step else state
    if state == "running":
        progress = f"running, not ready yet{': ' + words(status) if words(status) else ''}"
    detail = {
        "state": state,
        "installStep": step,
        "crashCount": _count(status),
        "logTail": log_tail(status),
    }
    said = f" ({words(status)})" if words(status) else ""
    message = f"the instance did not become ready in time; the agent's last state was {progress}{said}"
    return Verdict(False, Code.AGENT_TIMEOUT, message, progress, detail)


def _count(status: Mapping[str, Any]) -> int:
    value = status.get("crashCount")
    return value if isinstance(value, int) and 0 <= value < MOST_CRASHES else 0


def _word(status: Mapping[str, Any], name: str) -> str | None:
    """A member as one bounded line; None when it has no value."""
    value = status.get(name)
    return None if value is None else short(str(value))
