"""Read a container: its status, its configuration, or (waiting one window) its address.

Arguments: proxmox (`hostwright_proxmox`), vmid, timeout (seconds), what (status, config, address); for an
address interface and window (seconds): use it with `until: result.done`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction
from hostwright_ansible.address import wait_for_address
from hostwright_ansible.proxmox import COMMON, Session, open_session
from hostwright_ansible.secrets import Secrets

# Seconds. Reading an address is cheap to repeat, and a window must end about when it says.
REQUEST_TIMEOUT = 5.0


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[Mapping[str, Any]] = {
        **COMMON,
        "what": {"type": "str", "choices": ["status", "config", "address"], "required": True},
        "interface": {"type": "str", "default": "eth0"},
        "window": {"type": "int", "default": 3},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        with open_session(args, secrets, REQUEST_TIMEOUT) as session:
            if args["what"] == "address":
                return _address(session, args, check=check)
            value = session.config() if args["what"] == "config" else _status(session)
        return {"presence": "gone" if value is None else "present", args["what"]: value}


def _status(session: Session) -> dict[str, Any] | None:
    status = session.status()
    return None if status is None else asdict(status)


def _address(session: Session, args: dict[str, Any], *, check: bool) -> dict[str, Any]:
    if check and ((status := session.status()) is None or not status.running):
        # Nothing was cloned or started in check mode, so there is nothing to wait for.
        return {"done": True, "address": "", "progress": f"container {session.vmid} would get an address"}
    return wait_for_address(session, args["interface"], args["window"])
