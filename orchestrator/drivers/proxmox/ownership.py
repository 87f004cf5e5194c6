"""The mark by which a container is known to be ours, and the refusal to touch one that is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.drivers.proxmox.client import split_tags
from orchestrator.drivers.result import PhaseError

TAG = "hostwright"
_INSTANCE = re.compile(r"\binstance=(\S+)")


def description(server_id: str, operation_id: str) -> str:
    """The mark a clone is made with: readable from its first instant, while tags cannot be set yet."""
    return f"Managed by Hostwright. instance={server_id} operation={operation_id}"


def instance_tag(server_id: str) -> str:
    # Proxmox folds the case of tags.
    return f"hw-{server_id}".lower()


def with_our_tags(tags: str | None, server_id: str) -> str:
    """The tags as Proxmox spells them, ours added; an operator's own stay."""
    return ";".join(sorted({*split_tags(tags), TAG, instance_tag(server_id)}))


def is_ours(config: Mapping[str, Any], server_id: str) -> bool:
    """Whether the description or the tags name this instance; somebody's edit of one of them does no harm."""
    named = _INSTANCE.findall(str(config.get("description") or ""))
    return server_id in named or instance_tag(server_id) in split_tags(config.get("tags"))


def require_ours(config: Mapping[str, Any], vmid: int, server_id: str) -> None:
    """Raises PhaseError `not-ours`."""
    if not is_ours(config, server_id):
        raise PhaseError(
            Code.NOT_OURS,
            f"container {vmid} carries {mark_of(config)}, not that of instance {server_id}, "
            f"and was not touched: give the right vmid or the right server_id",
            vmid=vmid,
            hostname=str(config.get("hostname", "")),
        )


def mark_of(config: Mapping[str, Any]) -> str:
    """What a foreign container says about itself, for the message."""
    named = _INSTANCE.findall(str(config.get("description") or ""))
    return f"the mark of instance {named[0]}" if named else "no mark of Hostwright"
