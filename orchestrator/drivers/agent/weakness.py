"""How an agent keeps others away, found out by asking it. It only reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.drivers.agent.tokens import find_tokens
from orchestrator.drivers.httpjson import HttpError, HttpJson, Reply
from orchestrator.drivers.secrets import Secrets

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0


def find_weakness(address: str, agent: Mapping[str, Any], secrets: Path, instance_id: str) -> str | None:
    """Return what is wrong, as the end of a sentence about the agent. None when nothing is, or when it is silent.

    `agent` is the inventory's hostwright_agent, `secrets` the secrets file. Raises PhaseError when a secret is missing.
    """
    url = f"http://{address}:{agent['port']}/status"
    tokens = find_tokens(Secrets(secrets), agent.get("secret"), agent.get("master_secret"), instance_id)
    try:
        if _ask(url, {}).ok:
            return "asks nobody for a token: make its template with install_agent_token_file"
        ways = tokens.headers()
        if tokens.shared and _ask(url, ways[-1]).ok:
            return (
                "takes the template's token, which every clone has: set master_secret in hostwright_agent, then make "
                "the template anew"
            )
        status = _ask(url, ways[0])
    except HttpError:
        return None
    if status.ok and not status.member("isolated"):
        return "runs programs as its own user, who can read its token: make the template anew"
    return None


def _ask(url: str, headers: dict[str, str]) -> Reply:
    client = HttpJson(headers=headers, connect_timeout=CONNECT_SECONDS)
    return client.call("GET", url, timeout=ANSWER_SECONDS, patient=False)
