"""The independent check: what really is, compared with what customers were told. Pure, and without the database."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]
_INSTANCE = re.compile(r"\binstance=([0-9a-f-]{36})")
_CHANGING = frozenset({"pid", "address"})
"""What may differ in a container nobody touched."""


@dataclass(frozen=True)
class Claim:
    """A server that its customer was told it has."""

    server_id: str
    vmid: int
    hostname: str
    variant: str | None = None
    """Of a game server; a dev container publishes nothing."""
    stopped: bool = False


@dataclass(frozen=True)
class Picture:
    """What was found outside: by the lab's inventory and history, in /proc, on disk, from the agents themselves."""

    containers: Sequence[Row]
    records: Sequence[Row] = ()
    registrations: Sequence[Row] = ()
    configs: Mapping[int, Row] = field(default_factory=dict)
    """Of the containers that somebody else made, as Proxmox gives them."""
    guest_pids: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """VMID → processes that live in its directory."""
    agents: Mapping[int, Row | None] = field(default_factory=dict)
    """VMID → what its agent says of itself; None when it does not answer."""
    runs: Sequence[str] = ()
    """Run directories that lie about, by operation id."""
    history: Sequence[Row] = ()
    """What the lab took note of, in order."""


def violations(before: Picture, now: Picture, claims: Iterable[Claim]) -> list[str]:
    """Every way in which the world is not what customers were told; nothing when all promises were kept."""
    claimed = list(claims)
    foreign = {int(one["vmid"]) for one in before.containers}
    return [
        *_foreign(before, now),
        *(problem for claim in claimed for problem in _claim(claim, now)),
        *_containers(now, claimed, foreign),
        *_edge(before, now, claimed),
        *_processes(now, claimed, foreign),
        *(f"a run directory of operation {run} was left behind" for run in now.runs),
        *second_clones(now.history),
        *touched(now.history, foreign),
    ]


def _foreign(before: Picture, now: Picture) -> list[str]:
    """Containers that were there before must be exactly as they were."""
    found = {int(one["vmid"]): _lasting(one) for one in now.containers}
    problems = [
        f"foreign container {one['vmid']} was touched: {_lasting(one)} became {found.get(int(one['vmid']))}"
        for one in before.containers
        if found.get(int(one["vmid"])) != _lasting(one)
    ]
    problems += [
        f"the configuration of foreign container {vmid} was changed: {config} became {now.configs.get(vmid)}"
        for vmid, config in before.configs.items()
        if now.configs.get(vmid) != config
    ]
    return problems


def _lasting(container: Row) -> dict[str, Any]:
    return {name: value for name, value in container.items() if name not in _CHANGING}


def owner(container: Row) -> str | None:
    """The instance whose mark a container carries."""
    found = _INSTANCE.search(str(container.get("description") or ""))
    return found[1] if found else None


def _claim(claim: Claim, now: Picture) -> list[str]:
    """A server that succeeded: one container of its own, that runs, with an agent that is ready."""
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
        problems += _agent(claim, now.agents.get(claim.vmid))
    return problems


def _agent(claim: Claim, status: Row | None) -> list[str]:
    if status is None:
        return [f"the agent of {claim.hostname} does not answer"]
    config = status.get("config") or {}
    seen = (status.get("state"), status.get("ready"), config.get("vmid"), config.get("variant"))
    wanted = ("running", True, claim.vmid, claim.variant)
    return [] if seen == wanted else [f"the agent of {claim.hostname} should say {wanted} and says {seen}"]


def _containers(now: Picture, claims: Sequence[Claim], foreign: set[int]) -> list[str]:
    owners = {claim.server_id for claim in claims}
    return [
        f"container {one['vmid']} ({one['hostname']}, {one['status']}, of {owner(one)}) has no owner"
        for one in now.containers
        if int(one["vmid"]) not in foreign and owner(one) not in owners
    ]


def _edge(before: Picture, now: Picture, claims: Sequence[Claim]) -> list[str]:
    """Each game server has its records in every view and one registration; there is nothing else."""
    games = {claim.hostname: claim for claim in claims if claim.variant is not None}
    views = {"internal", "public"}
    wanted = Counter((view, kind, name) for name in games for view in views for kind in ("A", "SRV"))
    found = Counter(
        (str(one["view"]), str(one["type"]), _short(str(one["name"])))
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


def _short(name: str) -> str:
    """The host name in a record's name."""
    return name.removeprefix("_minecraft._tcp.").partition(".")[0]


def _processes(now: Picture, claims: Sequence[Claim], foreign: set[int]) -> list[str]:
    vmids = {claim.vmid for claim in claims if not claim.stopped} | foreign
    return [
        f"guest processes {list(pids)} of container {vmid} have no owner"
        for vmid, pids in now.guest_pids.items()
        if pids and vmid not in vmids
    ]


def second_clones(history: Iterable[Row]) -> list[str]:
    """No VMID is cloned to a second time unless the first clone was deleted, or its task aborted, before."""
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


def touched(history: Iterable[Row], foreign: set[int]) -> list[str]:
    """No request ever changed a container of somebody else, whatever it looks like now."""
    return [
        f"foreign container {event['vmid']} was meant by {event['method']} {event['path']}"
        for event in history
        if event["kind"] == "proxmox" and event["vmid"] in foreign
    ]


def of_server(now: Picture, claim: Claim | None, server_id: str, vmid: int | None, hostname: str | None) -> list[str]:
    """The same for one server alone, while others come and go: all of it is there, or nothing of it."""
    if claim is not None:
        return _claim(claim, now)
    problems = [
        f"container {one['vmid']} of {server_id} is still there" for one in now.containers if owner(one) == server_id
    ]
    if hostname is not None:
        left = [one["name"] for one in now.records if _short(str(one["name"])) == hostname]
        left += [one["name"] for one in now.registrations if one["name"] == hostname]
        problems += [f"{name} is still published" for name in left]
    if vmid is not None and now.guest_pids.get(vmid):
        problems.append(f"guest processes of {vmid} still run")
    return problems
