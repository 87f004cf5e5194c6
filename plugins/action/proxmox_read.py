"""Read a container: its status, its configuration, or (waiting one window) its address, with `until: result.done`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction

from orchestrator.domain.errors import Code
from orchestrator.drivers.proxmox.address import wait_for_address
from orchestrator.drivers.proxmox.arguments import COMMON, open_session
from orchestrator.drivers.proxmox.session import Session
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets

# Seconds. Reading an address is cheap to repeat, and a window must end about when it says.
REQUEST_TIMEOUT = 5.0


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[Mapping[str, Any]] = {
        **COMMON,
        "what": {"type": "str", "choices": ["status", "config", "address"], "required": True},
        "server_id": {"type": "str"},
        "must_exist": {"type": "bool", "default": False},
        "interface": {"type": "str", "default": "eth0"},
        "window": {"type": "int", "default": 3},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        with open_session(args, secrets, REQUEST_TIMEOUT) as session:
            if args["what"] == "address":
                return _address(session, args, check=check)
            value = session.config() if args["what"] == "config" else _status(session, args, check=check)
        return {"presence": "gone" if value is None else "present", args["what"]: value}


def _status(session: Session, args: dict[str, Any], *, check: bool) -> dict[str, Any] | None:
    server_id = args["server_id"]
    status = session.status() if server_id is None else session.owned_status(server_id)
    # In check mode nothing was cloned.
    if status is None and args["must_exist"] and not check:
        raise PhaseError(
            Code.NOT_OURS,
            f"container {session.vmid} does not exist on node {session.endpoint.node}, so what answers in its place "
            f"is not ours: give the right vmid, or provision it first",
        )
    return None if status is None else asdict(status)


def _address(session: Session, args: dict[str, Any], *, check: bool) -> dict[str, Any]:
    if check and ((status := session.status()) is None or not status.running):
        # Nothing was cloned or started in check mode, so there is nothing to wait for.
        return {"done": True, "address": "", "progress": f"container {session.vmid} would get an address"}
    return wait_for_address(session, args["interface"], args["window"])
