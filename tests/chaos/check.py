"""The independent check: it compares the world with what customers were told, and never asks the database."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]
_INSTANCE = re.compile(r"\binstance=([0-9a-f-]{36})")
_CHANGING = frozenset({"pid", "address"})
"""The fields that may change in a container that nobody touches."""


@dataclass(frozen=True)
class Claim:
    """A server that its customer was told it has."""

    server_id: str
    vmid: int
    hostname: str
    variant: str | None = None
    """None for a dev container, which publishes nothing."""
    stopped: bool = False


@dataclass(frozen=True)
class Picture:
    """What was found outside: in the lab's inventory and history, in /proc, on disk, and by asking the agents."""

    containers: Sequence[Row]
    records: Sequence[Row] = ()
    registrations: Sequence[Row] = ()
    configs: Mapping[int, Row] = field(default_factory=dict)
    """VMID → the configuration of a container that somebody else made, as Proxmox shows it."""
    guest_pids: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """VMID → the processes that live in the container's directory."""
    agents: Mapping[int, Row | None] = field(default_factory=dict)
    """VMID → the status of the container's agent; None when it does not answer."""
    runs: Sequence[str] = ()
    """The operations whose run directories were left behind."""
    history: Sequence[Row] = ()
    """The events that the lab recorded, in order."""


def find_violations(before: Picture, now: Picture, claims: Iterable[Claim]) -> list[str]:
    """Every way in which the world differs from what customers were told; empty when all promises were kept."""
    claimed = list(claims)
    foreign = {int(one["vmid"]) for one in before.containers}
    return [
        *_check_foreign(before, now),
        *(problem for claim in claimed for problem in _check_claim(claim, now)),
        *_check_owners(now, claimed, foreign),
        *_check_edge(before, now, claimed),
        *_check_processes(now, claimed, foreign),
        *(f"a run directory of operation {run} was left behind" for run in now.runs),
        *find_second_clones(now.history),
        *find_touched(now.history, foreign),
    ]


def _check_foreign(before: Picture, now: Picture) -> list[str]:
    """Check that the containers that were there before are exactly as they were."""
    found = {int(one["vmid"]): _without_changing(one) for one in now.containers}
    problems = [
        f"foreign container {one['vmid']} was touched: {_without_changing(one)} became {found.get(int(one['vmid']))}"
        for one in before.containers
        if found.get(int(one["vmid"])) != _without_changing(one)
    ]
    problems += [
        f"the configuration of foreign container {vmid} was changed: {config} became {now.configs.get(vmid)}"
        for vmid, config in before.configs.items()
        if now.configs.get(vmid) != config
    ]
    return problems


def _without_changing(container: Row) -> dict[str, Any]:
    return {name: value for name, value in container.items() if name not in _CHANGING}


def owner(container: Row) -> str | None:
    """The instance whose mark a container carries, if it carries one."""
    found = _INSTANCE.search(str(container.get("description") or ""))
    return found[1] if found else None


def _check_claim(claim: Claim, now: Picture) -> list[str]:
    """Check that a server has one container of its own, which runs and whose agent is ready."""
    own = [one for one in now.containers if owner(one) == claim.server_id]
    if len(own) != 1:
        vmids = [one["vmid"] for one in own]
        return [f"server {claim.server_id} ({claim.hostname}) has {len(own)} containers {vmids}, not one"]
    (container,) = own
    problems = []
    seen = (container["vmid"], container["hostname"], container["status"], container["lock"])
    wanted = (claim.vmid, claim.hostname, "stopped" if claim.stopped else "running", None)
    if seen != wanted:
        problems.append(f"server {claim.server_id} should be {wanted} and is {seen}")
    if not claim.stopped:
        problems += _check_agent(claim, now.agents.get(claim.vmid))
    return problems


def _check_agent(claim: Claim, status: Row | None) -> list[str]:
    if status is None:
        return [f"the agent of {claim.hostname} does not answer"]
    config = status.get("config") or {}
    seen = (status.get("state"), status.get("ready"), config.get("vmid"), config.get("variant"))
    wanted = ("running", True, claim.vmid, claim.variant)
    return [] if seen == wanted else [f"the agent of {claim.hostname} should say {wanted} and says {seen}"]


def _check_owners(now: Picture, claims: Sequence[Claim], foreign: set[int]) -> list[str]:
    owners = {claim.server_id for claim in claims}
    return [
        f"container {one['vmid']} ({one['hostname']}, {one['status']}, of {owner(one)}) has no owner"
        for one in now.containers
        if int(one["vmid"]) not in foreign and owner(one) not in owners
    ]


def _check_edge(before: Picture, now: Picture, claims: Sequence[Claim]) -> list[str]:
    """Check that each game server has its records in every view and one registration, and that there are no others."""
    games = {claim.hostname: claim for claim in claims if claim.variant is not None}
    views = {"internal", "public"}
    wanted = Counter((view, kind, name) for name in games for view in views for kind in ("A", "SRV"))
    found = Counter(
        (str(one["view"]), str(one["type"]), _host_name(str(one["name"])))
        for one in now.records
        if one not in before.records
    )
    problems = [f"DNS record {key} has no owner, or is there twice" for key in found - wanted]
    problems += [f"DNS record {key} is missing" for key in wanted - found]
    addresses = {str(one["hostname"]): one["address"] for one in now.containers}
    there = Counter(str(one["name"]) for one in now.registrations if one not in before.registrations)
    problems += [f"proxy registration {name} has no owner" for name in there if name not in games]
    problems += [f"server {name} is not registered with the proxy" for name in games if name not in there]
    problems += [
        f"proxy registration {one['name']} leads to {one['address']}, not to {addresses.get(str(one['name']))}"
        for one in now.registrations
        if one["name"] in games and one["address"] != addresses.get(str(one["name"]))
    ]
    return problems


def _host_name(name: str) -> str:
    """The short host name in a record's name."""
    return name.removeprefix("_minecraft._tcp.").partition(".")[0]


def _check_processes(now: Picture, claims: Sequence[Claim], foreign: set[int]) -> list[str]:
    vmids = {claim.vmid for claim in claims if not claim.stopped} | foreign
    return [
        f"guest processes {list(pids)} of container {vmid} have no owner"
        for vmid, pids in now.guest_pids.items()
        if pids and vmid not in vmids
    ]


def find_second_clones(history: Iterable[Row]) -> list[str]:
    """Find a second clone to a VMID whose first clone was neither deleted nor aborted before."""
    clones: dict[int, str] = {}
    problems = []
    for event in history:
        path = str(event.get("path", ""))
        if event["kind"] != "proxmox":
            continue
        if event["method"] == "DELETE":
            clones = {vmid: upid for vmid, upid in clones.items() if vmid != event["vmid"] and not path.endswith(upid)}
        elif path.endswith("/clone"):
            vmid = int(event["vmid"])
            if vmid in clones:
                problems.append(f"a second clone to {vmid} was accepted while the first was there")
            clones[vmid] = str(event["upid"])
    return problems


def find_touched(history: Iterable[Row], foreign: set[int]) -> list[str]:
    """Find the requests that changed somebody else's container, however it looks now."""
    return [
        f"foreign container {event['vmid']} was changed by {event['method']} {event['path']}"
        for event in history
        if event["kind"] == "proxmox" and event["vmid"] in foreign
    ]


def check_server(
    now: Picture, claim: Claim | None, server_id: str, vmid: int | None, hostname: str | None
) -> list[str]:
    """Check one server while others come and go: all of it must be there, or nothing of it."""
    if claim is not None:
        return _check_claim(claim, now)
    problems = [
        f"container {one['vmid']} of {server_id} is still there" for one in now.containers if owner(one) == server_id
    ]
    if hostname is not None:
        left = [one["name"] for one in now.records if _host_name(str(one["name"])) == hostname]
        left += [one["name"] for one in now.registrations if one["name"] == hostname]
        problems += [f"{name} is still published" for name in left]
    if vmid is not None and now.guest_pids.get(vmid):
        problems.append(f"guest processes of {vmid} still run")
    return problems
