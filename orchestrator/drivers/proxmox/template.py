"""Whether a template can be cloned, found out by looking at it. It only reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.drivers.proxmox.arguments import CONNECTION, open_session
from orchestrator.drivers.secrets import Secrets

SECONDS = 10


def find_trouble(proxmox: Mapping[str, Any], secrets: Path, vmid: int) -> tuple[str, bool] | None:
    """Return what is wrong with a template, as the end of a sentence about it, and whether it may pass by itself.

    None when nothing is. `proxmox` is the inventory's hostwright_proxmox, `secrets` the secrets file. Raises PhaseError
    when Proxmox does not tell.
    """
    defaults = {name: option["default"] for name, option in CONNECTION["options"].items() if "default" in option}
    asked = {"proxmox": {**defaults, **proxmox}, "vmid": vmid, "timeout": SECONDS}
    with open_session(asked, Secrets(secrets), SECONDS) as session:
        config = session.config()
    if config is None:
        return f"is not on node {proxmox['node']}: make it as docs/containers.md says, or give the right VMID", False
    if not config.get("template"):
        return f"is a container and no template: `pct template {vmid}` makes it one", False
    if lock := config.get("lock"):
        return f"is locked ({lock}): when no clone of it is being made, `pct unlock {vmid}` on its node", True
    return None
