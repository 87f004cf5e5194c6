"""The check itself: every kind of loss and leak is planted once, and the check must see it."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.chaos.campaign import Result
from tests.chaos.check import Claim, Picture, check_server, find_second_clones, find_touched, find_violations
from tests.chaos.marks import Marks
from tests.chaos.picture import RUNS, find_guest_pids, take
from tests.chaos.report import format_page, summarise
from tests.support.fix_lab import Lab, tls_context
from tests.support.lab_dns import technitium
from tests.support.lab_proxy import bridge_client

SERVER = "0b0e7b1c-4c5c-4d7e-9a55-6f7f0a3c2f11"
NAME = "mc-vanilla-5000"
CLAIM = Claim(SERVER, 5000, NAME, "vanilla")
MINE = {
    "vmid": 5000,
    "hostname": NAME,
    "status": "running",
    "lock": None,
    "address": "127.9.16.1",
    "description": f"Managed by Hostwright. instance={SERVER} operation={uuid4()}\n",
}
THEIRS = {"vmid": 5004, "hostname": "theirs", "status": "stopped", "lock": None, "address": None, "description": ""}
RECORDS = [
    {"view": view, "type": kind, "name": name, "value": "x", "ttl": 60}
    for view, zone in (("internal", "lab.internal"), ("public", "lab.example"))
    for kind, name in (("A", f"{NAME}.{zone}"), ("SRV", f"_minecraft._tcp.{NAME}.{zone}"))
]
BACKEND = {"name": NAME, "address": "127.9.16.1", "port": 25565}
AGENT = {"state": "running", "ready": True, "config": {"vmid": 5000, "variant": "vanilla"}}
BEFORE = Picture([THEIRS], configs={5004: {"cores": 1}})
GOOD = Picture([THEIRS, MINE], RECORDS, [BACKEND], {5004: {"cores": 1}}, {5000: [71]}, {5000: AGENT})


def test_finds_nothing_when_all_is_as_customers_were_told() -> None:
    assert find_violations(BEFORE, GOOD, [CLAIM]) == []
    assert find_violations(BEFORE, BEFORE, []) == []
    assert check_server(GOOD, CLAIM, SERVER, 5000, NAME) == []
    assert check_server(BEFORE, None, SERVER, 5000, NAME) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"containers": [THEIRS]}, "has 0 containers"),
        ({"containers": [THEIRS, MINE, MINE | {"vmid": 5001}]}, "has 2 containers"),
        ({"containers": [THEIRS, MINE | {"status": "stopped"}]}, "should be"),
        ({"containers": [THEIRS, MINE | {"lock": "create"}]}, "should be"),
        ({"containers": [THEIRS, MINE, MINE | {"vmid": 5001, "description": ""}]}, "container 5001"),
        ({"containers": [MINE]}, "foreign container 5004 was touched"),
        ({"containers": [THEIRS | {"status": "running"}, MINE]}, "foreign container 5004 was touched"),
        ({"configs": {5004: {"cores": 2}}}, "the configuration of foreign container 5004"),
        ({"records": RECORDS[1:]}, "is missing"),
        ({"records": [*RECORDS, RECORDS[0] | {"value": "y"}]}, "is there twice"),
        ({"records": [*RECORDS, RECORDS[0] | {"name": "mc-vanilla-5009.lab.internal"}]}, "has no owner"),
        ({"registrations": []}, "is not registered"),
        ({"registrations": [BACKEND, BACKEND | {"name": "mc-vanilla-5009"}]}, "has no owner"),
        ({"registrations": [BACKEND | {"address": "127.9.16.2"}]}, "leads to"),
        ({"guest_pids": {5000: [71], 5009: [72]}}, "guest processes [72]"),
        ({"agents": {}}, "does not answer"),
        ({"agents": {5000: AGENT | {"ready": False}}}, "should say"),
        ({"agents": {5000: AGENT | {"config": {"vmid": 5001, "variant": "vanilla"}}}}, "should say"),
        ({"runs": ["some-operation"]}, "a run directory"),
    ],
)
def test_sees_one_thing_that_is_wrong(changed: dict[str, Any], said: str) -> None:
    assert said in "; ".join(find_violations(BEFORE, replace(GOOD, **changed), [CLAIM]))


def test_sees_what_is_left_of_a_server_that_should_be_gone() -> None:
    assert len(check_server(GOOD, None, SERVER, 5000, NAME)) == 1 + len(RECORDS) + 1 + 1


def event(method: str, path: str, vmid: int | None, upid: str | None = None) -> dict[str, Any]:
    return {"kind": "proxmox", "method": method, "path": f"/nodes/pve1/{path}", "vmid": vmid, "upid": upid}


def test_sees_a_second_clone_unless_the_first_was_undone() -> None:
    first, second = (event("POST", "lxc/9000/clone", 5000, upid) for upid in ("UPID:1:", "UPID:2:"))
    for undone in (event("DELETE", "lxc/5000", 5000, "UPID:3:"), event("DELETE", "tasks/UPID:1:", None)):
        assert find_second_clones([first, undone, second]) == []
    assert find_second_clones([first, second]) != []
    assert find_second_clones([first, event("DELETE", "lxc/5001", 5001, "UPID:3:"), second]) != []
    assert find_second_clones([first, event("DELETE", "tasks/UPID:9:", None), second]) != []
    assert find_second_clones([first, event("POST", "lxc/9000/clone", 5001, "UPID:2:")]) == []


def test_sees_that_a_foreign_container_was_changed() -> None:
    assert find_touched([event("POST", "lxc/5004/status/stop", 5004)], {5004}) != []
    assert find_touched([event("POST", "lxc/5000/status/stop", 5000), {"kind": "control", "vmid": 5004}], {5004}) == []


def test_sees_what_is_planted_in_the_lab(clean_lab: Lab) -> None:
    clean_lab.place_foreign(4801, "theirs-4801")
    before = take(clean_lab, foreign=[4801])
    so_far = len(before.history)
    assert find_violations(before, take(clean_lab, foreign=[4801], after=so_far), []) == []
    with _planted_record(clean_lab), _planted_registration(clean_lab), _planted_run() as operation:
        _change(clean_lab, "PUT", "4801/config", cores="2")
        clean_lab.place_foreign(4802, "nobodys")
        found = find_violations(before, take(clean_lab, [4801], [operation], so_far), [])
    said = (
        "configuration of foreign container 4801",
        "container 4801 was changed by PUT",
        "container 4802",
        "'planted')",
        "registration planted",
        operation,
    )
    assert len(found) == len(said), found
    for words in said:
        assert any(words in one for one in found), (words, found)
    for vmid in (4801, 4802):
        _change(clean_lab, "DELETE", str(vmid))


@contextmanager
def _planted_record(lab: Lab) -> Iterator[None]:
    where = {"domain": "planted.lab.internal", "zone": "lab.internal", "type": "A", "ipAddress": "192.0.2.1"}
    technitium(lab, "add", **where, ttl="60")
    yield
    technitium(lab, "delete", **where)


@contextmanager
def _planted_registration(lab: Lab) -> Iterator[None]:
    with bridge_client(lab) as bridge:
        bridge.post("/zpack/register", json={"server_name": "planted", "address": "127.0.0.1", "port": 1})
        yield
        bridge.post("/zpack/unregister", json={"server_name": "planted"})


@contextmanager
def _planted_run() -> Iterator[str]:
    operation = str(uuid4())
    directory = RUNS / f"hostwright-run-{operation}-7-abc"
    directory.mkdir()
    yield operation
    shutil.rmtree(directory)


def _change(lab: Lab, method: str, path: str, **data: str) -> None:
    """Change a container through Proxmox's own API, as somebody else would."""
    where = lab.site["proxmox"]
    token = f"PVEAPIToken={where['user']}!{where['token_name']}={lab.secrets['proxmox_token']}"
    url = f"{lab.urls['proxmoxUrl']}/api2/json/nodes/{where['node']}/lxc/{path}"
    with httpx.Client(verify=tls_context(lab), trust_env=False, headers={"Authorization": token}) as client:
        client.request(method, url, data=data or None).raise_for_status()


def test_sees_a_process_that_lives_in_a_guests_directory(tmp_path: Path) -> None:
    (tmp_path / "5000" / "server").mkdir(parents=True)
    with _process(tmp_path / "5000" / "server", {}) as pid:
        assert find_guest_pids(tmp_path, 0) == {5000: [pid]}
    assert find_guest_pids(tmp_path, 0) == {}


def test_sees_two_live_runs_of_one_operation_and_only_those(tmp_path: Path) -> None:
    operation, other = str(uuid4()), str(uuid4())
    with Marks() as marks:
        with _process(tmp_path, _marked(operation, "first")) as pid, _process(tmp_path, _marked(other, "third")):
            _wait_for(lambda: marks.last_seen(operation, "first") > 0 and marks.last_seen(other, "third") > 0)
            assert [one.pid for one in marks.living(operation)] == [pid]
            assert marks.two_alive() == []
            with _process(tmp_path, _marked(operation, "second")):
                _wait_for(lambda: bool(marks.two_alive(operation)))
        ended_at = time.monotonic()
        assert marks.living(operation) == []
        assert marks.last_seen(operation, "second") <= ended_at
        assert {one.operation for one in marks.two_alive()} == {operation}


def _marked(operation: str, run: str) -> dict[str, str]:
    return {"HOSTWRIGHT_OPERATION": operation, "ANSIBLE_HOME": f"/dev/shm/hostwright-run-{operation}-{run}/ansible"}


@contextmanager
def _process(directory: Path, environment: dict[str, str]) -> Iterator[int]:
    process = subprocess.Popen(["sleep", "60"], cwd=directory, env=os.environ | environment)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _wait_for(what: Any) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_tells_of_every_row_and_of_the_broken_ones() -> None:
    results = [
        Result("one", "kill | it", "succeeds", "succeeded", 1.25, kept=True),
        Result("two", "freeze it", "succeeds", "lost\nit", 2, kept=False),
    ]
    page = format_page(results, 90)
    assert "| one | kill \\| it | succeeds | succeeded | 1.2 | kept |" in page
    assert "| two | freeze it | succeeds | lost it | 2.0 | BROKEN |" in page
    assert summarise(results, 90) == "2 rows in 1.5 minutes: 1 broken: two"
