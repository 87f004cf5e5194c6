"""Containers that a test begins with, made and removed by the drivers: the playbooks have tests of their own."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import httpx

from orchestrator.drivers.agent.tokens import find_tokens
from orchestrator.drivers.proxmox.address import wait_for_address
from orchestrator.drivers.proxmox.client import Endpoint
from orchestrator.drivers.proxmox.clone import Order, clone
from orchestrator.drivers.proxmox.configure import Wanted, configure
from orchestrator.drivers.proxmox.delete import delete
from orchestrator.drivers.proxmox.power import start, stop
from orchestrator.drivers.proxmox.session import Session
from orchestrator.drivers.secrets import Secrets
from tests.support.fix_lab import Lab
from tests.support.fix_lab_proxmox import wait_until

PATIENCE = 30.0
"""Seconds that anything may take on a busy machine."""
VANILLA = {
    "container_type": "game",
    "game": "minecraft",
    "variant": "vanilla",
    "version": "1.21.7",
    "world": "world",
    "ports": [25565],
    "artifact_path": "minecraft/vanilla/1.21.7/server.jar",
    "java_path": "java/21/OpenJDK21.tar.gz",
    "memory_mb": 2048,
}


class Stage(IntEnum):
    """How far a container is made."""

    CLONED = 1
    CONFIGURED = 2
    STARTED = 3
    READY = 4


def owner(vmid: int) -> str:
    """Whose it is when nobody says otherwise, as in the lab's inventory."""
    return f"by-hand-{vmid}"


def agent_headers(lab: Lab, server_id: str) -> dict[str, str]:
    """The tokens of an instance's agent, as the roles send them."""
    names = lab.site["agent"]
    secrets = Secrets(lab.state_dir / "lab" / "secrets.json")
    return find_tokens(secrets, names["secret"], names["master_secret"], server_id).headers()[0]


def find_owner(container: Mapping[str, Any]) -> str:
    """The instance that a container of the lab's inventory is marked with; empty when it has no mark."""
    found = re.search(r"instance=(\S+)", container["description"])
    return found[1] if found else ""


def make(lab: Lab, vmid: int, stage: Stage = Stage.STARTED, *, ctype: str = "game", server_id: str = "") -> str:
    """Make a container as far as the stage says; returns its address, if it is started. What is READY is Minecraft."""
    hostname = f"mc-vanilla-{vmid}" if ctype == "game" else f"dev-{vmid}"
    mine, network = server_id or owner(vmid), lab.site["network"][ctype]
    with _session(lab, vmid) as session:
        clone(session, Order(lab.site["templates"][ctype], hostname, mine, "by-hand"), check=False)
        if stage >= Stage.CONFIGURED:
            wanted = Wanted(mine, hostname, 2, 2048, network["bridge"], network["interface"])
            configure(session, wanted, check=False)
        if stage < Stage.STARTED:
            return ""
        start(session, mine, check=False)
        address = str(wait_for_address(session, network["interface"], PATIENCE)["address"])
    if stage >= Stage.READY:
        _set_up(lab, address, vmid, mine)
    return address


def remove(lab: Lab, vmid: int, *, server_id: str = "") -> None:
    """Stop and delete it, if it is there."""
    with _session(lab, vmid) as session:
        stop(session, server_id or owner(vmid), grace=int(PATIENCE), check=False)
        delete(session, server_id or owner(vmid), check=False)


@contextmanager
def _session(lab: Lab, vmid: int) -> Iterator[Session]:
    session = Session(Endpoint(**lab.site["proxmox"]), lab.secrets["proxmox_token"], vmid, PATIENCE)
    try:
        yield session
    finally:
        session.proxmox.close()


def _set_up(lab: Lab, address: str, vmid: int, mine: str) -> None:
    port, headers = lab.site["agent"]["port"], agent_headers(lab, mine)
    # It refuses connections until it has begun to listen.
    with httpx.Client(base_url=f"http://{address}:{port}", headers=headers, trust_env=False, timeout=PATIENCE) as agent:
        wait_until(lambda: _send(agent, VANILLA | {"vmid": vmid}))
        wait_until(lambda: agent.get("/status", params={"wait": 1}).json()["ready"])


def _send(agent: httpx.Client, payload: dict[str, Any]) -> bool:
    try:
        return agent.post("/config", json=payload).raise_for_status().is_success
    except httpx.ConnectError:
        return False
