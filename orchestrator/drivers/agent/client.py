"""The agent inside a container over HTTP: its status within a window of waiting, its configuration."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.drivers.agent.status import Verdict
from orchestrator.drivers.agent.tokens import Tokens, find_tokens
from orchestrator.drivers.httpjson import HttpError, HttpJson, Reply
from orchestrator.drivers.result import PhaseError, waiting
from orchestrator.drivers.secrets import Secrets

UPTIME = Path("/proc/uptime")
"""Seconds since the machine's start, then its idle time (proc_uptime(5))."""
UNREACHABLE = Code.AGENT_UNREACHABLE
INTERVAL = 1.0
# A refused connection costs nothing, and an agent that comes up is there from one moment to the next.
UNREACHABLE_INTERVAL = 0.25
LONG_POLL = 2
# A container that still boots may drop packets; the next window knocks again.
CONNECT_TIMEOUT = 2.0
# An agent in the middle of an installation may be slow.
STATUS_TIMEOUT = 10.0
# A configuration may carry worlds and mods to check before the agent says 202.
CONFIG_TIMEOUT = 15.0
# At the end of the phase there is less time: one that hangs must not outlive the phase by much.
SHORTEST_CONFIG_TIMEOUT = 5.0
WINDOW = 3.0
# An answer may come this much after the window.
WINDOW_GRACE = 2.0


class Agent:
    """One agent for one window of waiting. Its answers are `Reply`; silence is HttpError.

    Status requests end within `patience` seconds from now on, a configuration takes at most `config_timeout`.
    """

    def __init__(
        self, address: str, port: int, tokens: Tokens, *, patience: float, config_timeout: float = CONFIG_TIMEOUT
    ) -> None:
        self._ends_at = time.monotonic() + patience
        self._config_timeout = config_timeout
        self._ways = [HttpJson(headers=headers, connect_timeout=CONNECT_TIMEOUT) for headers in tokens.headers()]
        self._seen: int | None = None
        self._base = f"http://{address}:{port}"

    def status(self, *, wait: int = 0) -> dict[str, Any]:
        """Raises HttpError when there is no status, PhaseError `agent-rejected` when the token is refused."""
        params = {"wait": wait} if wait else {}
        if wait and self._seen is not None:
            # What changed since the last answer is no reason to wait. Agents without revisions ignore this.
            params["since"] = self._seen
        timeout = max(0.0, min(STATUS_TIMEOUT + wait, self._ends_at - time.monotonic()))
        reply = self._call("GET", "/status", params=params, timeout=timeout)
        if not reply.ok or not isinstance(reply.body, dict):
            raise HttpError(f"GET /status answers {reply.status}: {reply.words()}")
        revision = reply.body.get("revision")
        self._seen = revision if isinstance(revision, int) else None
        return reply.body

    def configure(self, payload: Mapping[str, Any]) -> Reply:
        """Not repeated by itself: an agent of the field may install again."""
        return self._call("POST", "/config", body=dict(payload), timeout=self._config_timeout)

    def _call(self, method: str, path: str, **request: Any) -> Reply:
        """Once more with the template's token alone when both are refused, as agents of old templates do."""
        url = f"{self._base}{path}"
        while (reply := self._ways[0].call(method, url, patient=False, **request)).status == 401 and self._ways[1:]:
            del self._ways[0]
        refuse_denied(reply)
        return reply


def open_agent(args: Mapping[str, Any], secrets: Secrets) -> Agent:
    """The agent of a task's `address`, `port` and `server_id`, with the tokens that its `secret` and `master_secret`
    name. Raises PhaseError `internal`."""
    if not args["address"]:
        raise PhaseError(Code.INTERNAL, "there is no address to ask: run wait_for_ip before, or give -e address=…")
    return Agent(
        args["address"],
        args["port"],
        find_tokens(secrets, args["secret"], args["master_secret"], args["server_id"]),
        patience=window(args) + WINDOW_GRACE,
        config_timeout=max(SHORTEST_CONFIG_TIMEOUT, min(CONFIG_TIMEOUT, _left(args))),
    )


def window(args: Mapping[str, Any]) -> float:
    """Seconds of a task's window: its `window`, but not past its `deadline`, which it need not have."""
    return min(float(args.get("window", WINDOW)), max(0.0, _left(args)))


def is_last(args: Mapping[str, Any]) -> bool:
    """Whether the task's `deadline` has come, so that no window follows."""
    return _left(args) <= 0


def _left(args: Mapping[str, Any]) -> float:
    # The deadline comes from a template, which has no other clock that nobody sets, and outlives the attempts.
    deadline = args.get("deadline")
    return math.inf if deadline is None else deadline - float(UPTIME.read_text().split()[0])


def refuse_denied(reply: Reply) -> None:
    if reply.status in (401, 403):
        raise PhaseError(
            Code.AGENT_REJECTED,
            f"the agent refuses our token ({reply.status} {reply.words()}); is server_id its instance, and are "
            "the secrets that hostwright_agent names the right ones?",
        )


def watch(look: Callable[[int], Verdict], window: float) -> Verdict:
    """Look until it is done or the window (seconds) has passed; `look` takes the seconds of its long poll.

    The first look does not wait, the next ones ask the agent to answer on its next change. One that answers
    at once with what it said before knows no long poll and is asked every INTERVAL.
    """
    deadline = time.monotonic() + window
    seen = look(0)
    while not seen.done:
        started = time.monotonic()
        if started >= deadline:
            break
        before, seen = seen, look(min(LONG_POLL, int(deadline - started)))
        if not seen.done and seen.progress == before.progress:
            interval = UNREACHABLE_INTERVAL if seen.code == UNREACHABLE else INTERVAL
            rest = min(started + interval, deadline) - time.monotonic()
            time.sleep(max(0.0, rest))
    return seen


def unreachable(address: str, error: HttpError) -> Verdict:
    """Silence is unknown, never a verdict: the container may still boot."""
    message = f"the agent at {address} is unreachable ({error}); does its service run, and is its port open?"
    return Verdict(False, UNREACHABLE, message, f"agent unreachable: {error}")


def as_result(verdict: Verdict, *, last: bool = False) -> dict[str, Any]:
    """The verdict as a task's result. Raises PhaseError when it is a failure, or still waits when it is the `last`."""
    if verdict.code is None:
        return {"changed": verdict.changed, "done": True, "progress": verdict.progress}
    if verdict.done or last:
        raise PhaseError(verdict.code, verdict.message, **verdict.detail)
    return waiting(verdict.code, verdict.message, progress=verdict.progress, **verdict.detail)
