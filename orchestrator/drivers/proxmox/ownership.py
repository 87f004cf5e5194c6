"""The mark by which a container is known to be ours, and the refusal to touch one that is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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
    # Unless the cluster is told otherwise, Proxmox folds the case of tags.
    return f"hw-{server_id}".lower()


def with_our_tags(tags: str | None, server_id: str) -> str:
    """The tags with ours added; all others stay as they are spelt."""
    there = split_tags(tags)
    missing = {TAG, instance_tag(server_id)} - {tag.lower() for tag in there}
    return ";".join(sorted({*there, *missing}))


def names_instance(tags: Iterable[str], server_id: str) -> bool:
    """Whether one of the tags is this instance's mark, in whatever case."""
    return instance_tag(server_id) in {tag.lower() for tag in tags}


def is_ours(config: Mapping[str, Any], server_id: str) -> bool:
    """Whether the description or the tags name this instance; somebody's edit of one of them does no harm."""
    named = _INSTANCE.findall(str(config.get("description") or ""))
    return server_id in named or names_instance(split_tags(config.get("tags")), server_id)


def is_being_written(config: Mapping[str, Any]) -> bool:
    """Whether it cannot be told yet whose the container is.

    Proxmox writes the configuration of a clone's target with `lock: create` alone, and its description a little later:
    after 3 to 8 ms on an idle node, up to 10 s while the cluster's firewall lock is held.
    """
    return config.get("lock") == "create" and not config.get("description") and not config.get("tags")


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
