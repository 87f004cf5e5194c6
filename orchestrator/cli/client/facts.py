"""What a person is told of one server. An API of an earlier release tells less."""

from collections.abc import Callable
from typing import Any


def name_order(item: dict[str, Any]) -> str:
    """Say what was ordered, such as `vanilla 1.21.7` or `python 3.12`. `item` is an instance or an operation."""
    game = item.get("game") if item.get("game") not in ("minecraft", item["variant"]) else None
    return " ".join(filter(None, (game, item["variant"] or item.get("runtime"), item["version"])))


def describe_reach(instance: dict[str, Any]) -> list[tuple[str, str]]:
    """Say how a ready server is reached."""
    join, editor = instance.get("join"), instance.get("editor")
    if join:
        return [("join", f"{join['address']}:{join['port']}")]
    if editor:
        return [("editor", editor["url"]), ("sign in", editor["signIn"])]
    return []


def _describe_next_try(instance: dict[str, Any]) -> str:
    if not instance.get("failingSince"):
        return ""
    return instance.get("nextTryAt") or "now"


TROUBLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "left behind": lambda instance: ", ".join(instance["leaked"]),
    "failing since": lambda instance: instance.get("failingSince") or "",
    "next try": _describe_next_try,
}
"""What only some instances have. A table has a column for it when one of its instances has."""


def describe_instance(instance: dict[str, Any]) -> list[tuple[str, str]]:
    """Name all that is known of an instance, without what it does not have."""
    size = f"{instance['memoryMiB']} MiB, {instance['cpuCores']} cores, {instance['diskGiB']} GiB"
    facts = [
        ("server", instance["serverId"]),
        ("status", instance["status"]),
        *describe_reach(instance),
        ("name", instance["hostname"]),
        ("VMID", instance["vmid"]),
        ("what", f"{instance['ctype']} {name_order(instance)}"),
        ("size", size),
        ("customer", instance["customerId"]),
        ("address", instance["address"]),
        ("ordered", instance["createdAt"]),
        ("ready", instance["readyAt"]),
        ("proxy", instance["proxyStatus"]),
        *((name, tell(instance)) for name, tell in TROUBLES.items()),
        ("deleted at", instance["expiresAt"]),
        ("in progress", instance["activeOperationId"]),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]
