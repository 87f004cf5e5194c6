"""Takes the picture that the check judges, from the lab, Proxmox's own API, the agents, /proc and the disk."""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.check import Picture, Row
from tests.support.containers import agent_headers, find_owner
from tests.support.fix_lab import Lab, tls_context

RUNS = Path("/dev/shm")
_AGENT_PORT = 18888


def take(lab: Lab, foreign: Collection[int] = (), operations: Collection[str] = (), after: int = 0) -> Picture:
    """Take a picture of what is there now.

    It has the configurations of the `foreign` containers, the run directories that `operations` left behind, and the
    history after the event with the number `after`.
    """
    inventory = lab.inventory()
    return Picture(
        containers=inventory["containers"],
        records=inventory["records"],
        registrations=inventory["registrations"],
        configs=_read_configs(lab, foreign),
        guest_pids=find_guest_pids(lab.state_dir / "lab" / "guests", lab.block),
        agents=_ask_agents(lab, inventory["containers"]),
        runs=[operation for operation in operations if any(RUNS.glob(f"hostwright-run-{operation}-*"))],
        history=lab.history(after),
    )


def find_guest_pids(guests: Path, block: int) -> dict[int, list[int]]:
    """The processes of each guest by VMID: those in the guest's directory, or in its container's cgroup."""
    container = re.compile(rf"/lxc\.(?:payload|monitor)\.hw{block}-(\d+)(?:/|$)", re.MULTILINE)
    found: dict[int, list[int]] = defaultdict(list)
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            place = Path(str((directory / "cwd").readlink()).removesuffix(" (deleted)"))
            contained = container.search((directory / "cgroup").read_text())
        except OSError:
            continue
        if contained:
            found[int(contained[1])].append(int(directory.name))
        elif place.is_relative_to(guests) and place != guests:
            found[int(place.relative_to(guests).parts[0])].append(int(directory.name))
    return found


def _read_configs(lab: Lab, vmids: Collection[int]) -> dict[int, Row]:
    where = lab.site["proxmox"]
    token = f"PVEAPIToken={where['user']}!{where['token_name']}={lab.secrets['proxmox_token']}"
    with httpx.Client(
        base_url=lab.urls["proxmoxUrl"], verify=tls_context(lab), trust_env=False, headers={"Authorization": token}
    ) as client:
        return {
            vmid: client.get(f"/api2/json/nodes/{where['node']}/lxc/{vmid}/config").raise_for_status().json()["data"]
            for vmid in vmids
        }


def _ask_agents(lab: Lab, containers: list[dict[str, Any]]) -> Mapping[int, Row | None]:
    found: dict[int, Row | None] = {}
    with httpx.Client(timeout=5, trust_env=False) as client:
        for one in containers:
            if one["address"] is None:
                continue
            try:
                headers = agent_headers(lab, find_owner(one))
                found[one["vmid"]] = client.get(f"http://{one['address']}:{_AGENT_PORT}/status", headers=headers).json()
            except httpx.HTTPError:
                found[one["vmid"]] = None
    return found
