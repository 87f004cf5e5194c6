"""The lab's Proxmox as clients meet it, over verified TLS, with a real guest behind every running container."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import requests
from proxmoxer.core import ResourceException

from orchestrator.lab.addresses import claim_block
from orchestrator.lab.errors import InputError
from orchestrator.lab.guests.processes import ProcessGuest
from tests.support.fix_lab_proxmox import MARK, TOKEN, Lab, MakeLab, answers, wait_until

NET = "name=eth0,bridge=vmbr0,ip=dhcp"
GAME = {
    "vmid": 5000,
    "container_type": "game",
    "game": "minecraft",
    "variant": "paper",
    "version": "1.21.7",
    "ports": [25565],
    "artifact_path": "minecraft/paper/1.21.7/server.jar",
    "memory_mb": 2048,
}


def refusal(call: Callable[[], object]) -> tuple[int, str]:
    """The status and the message of a refused request."""
    with pytest.raises(ResourceException) as caught:
        call()
    return caught.value.status_code, caught.value.content.split(" - {")[0]


def test_container_lives_from_clone_to_delete(make_lab: MakeLab) -> None:
    lab = make_lab(speed=0.1)
    node, container = lab.node, lab.node.lxc(5000)

    upid = node.lxc(9000).clone.post(newid=5000, hostname="mc-5000", full=1, description=MARK)
    config = container.config.get()
    assert (config["lock"], config["description"], "rootfs" in config) == ("create", MARK + "\n", False)
    assert refusal(lambda: container.config.put(tags="hostwright")) == (500, "CT is locked (create)")
    assert lab.finish(upid) == "OK"

    container.config.put(cores=2, memory=2048, net0=NET, tags="hw-1;hostwright")
    config = container.config.get()
    assert (config["cores"], config["memory"], config["tags"]) == (2, 2048, "hostwright;hw-1")
    assert config["rootfs"]
    assert container.interfaces.get() is None
    address = lab.start(5000)
    (process,) = lab.pve.processes()
    assert (process["vmid"], process["kind"]) == (5000, "agent")

    assert lab.finish(container.status.stop.post()) == "OK"
    assert not answers(address)
    assert not psutil.pid_exists(process["pid"])
    assert lab.finish(container.delete()) == "OK"
    assert [item["vmid"] for item in lab.pve.containers()] == [9000]
    assert not (lab.root / "guests" / "5000").exists()


def test_interfaces_lists_loopback_and_link_local_first(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.clone(5000)
    lab.pve.guests.speed = 600  # its address would come in ten minutes
    assert lab.finish(lab.node.lxc(5000).status.start.post()) == "OK"

    lo, early = lab.node.lxc(5000).interfaces.get()
    assert lo["name"] == "lo"
    assert (early["name"], early["ip-addresses"]) == ("eth0", [])

    guest = lab.pve.guests.find(5000)
    assert isinstance(guest, ProcessGuest)
    guest.address_at = time.monotonic()
    _, later = lab.node.lxc(5000).interfaces.get()
    local, address = (item["ip-address"] for item in later["ip-addresses"])
    assert local.startswith("fe80::")
    assert local.split(":")[-1][-2:] == later["hwaddr"][-2:].lower()
    assert address == f"127.{lab.addresses.block}.16.1"
    assert lab.node.lxc(4711).interfaces.get() is None


def test_certificate_is_worth_verifying(make_lab: MakeLab) -> None:
    lab = make_lab()

    assert lab.client().version.get()["version"]
    with pytest.raises(requests.exceptions.SSLError):
        lab.client(verify=True).version.get()


def test_bad_token_is_refused_without_a_body(make_lab: MakeLab) -> None:
    lab = make_lab()

    assert refusal(lab.client(token="wrong").version.get) == (401, "Authentication failed!")
    url = f"https://{lab.addresses.proxmox}:8006/api2/json/version"
    headers = {"Authorization": "PVEAPIToken=hostwright@pve!lab=wrong"}
    assert requests.get(url, headers=headers, verify=str(lab.files.ca), timeout=10).content == b""


def test_second_clone_of_a_source_waits_its_turn(make_lab: MakeLab) -> None:
    lab = make_lab(speed=0.2)
    template = lab.node.lxc(9000)

    first = template.clone.post(newid=5000, full=1)
    assert refusal(lambda: template.clone.post(newid=5001, full=1)) == (500, "CT is locked (disk)")
    assert lab.finish(first) == "OK"
    second = template.clone.post(newid=5001, full=1)
    assert lab.finish(second) == "OK"
    assert refusal(lambda: template.clone.post(newid=5001, full=1)) == (500, "CT 5001 already exists on node 'pve1'")


def test_aborted_clone_cleans_up_after_itself(make_lab: MakeLab) -> None:
    lab = make_lab(speed=0.5)
    upid = lab.node.lxc(9000).clone.post(newid=5000, full=1)
    assert lab.locks() == {9000: "disk", 5000: "create"}

    assert lab.node.tasks(upid).delete() is None

    assert lab.finish(upid) == "interrupted by signal"
    assert lab.locks() == {9000: None}
    assert not (lab.root / "guests" / "5000").exists()
    assert lab.node.tasks(upid).delete() is None, "a finished task is left alone"


def test_failed_clone_task_cleans_up_after_itself(make_lab: MakeLab) -> None:
    lab = make_lab()
    message = "clone failed: copy failed: No space left on device"
    lab.pve.inject({"target": "proxmox", "error": "task", "task": "vzclone", "message": message, "times": 1})

    upid = lab.node.lxc(9000).clone.post(newid=5000, full=1)

    assert lab.finish(upid) == message
    assert lab.node.tasks(upid).log.get()[-1]["t"] == f"TASK ERROR: {message}"
    assert lab.locks() == {9000: None}
    lab.clone(5000)


def test_start_of_a_template_or_nothing_is_a_failing_task(make_lab: MakeLab) -> None:
    lab = make_lab()

    assert lab.finish(lab.node.lxc(9000).status.start.post()) == "you can't start a CT if it's a template"
    missing = "Configuration file 'nodes/pve1/lxc/4711.conf' does not exist"
    assert lab.finish(lab.node.lxc(4711).status.start.post()) == missing


def test_unknown_task_is_a_bad_parameter(make_lab: MakeLab) -> None:
    task = make_lab().node.tasks("UPID:pve1:0000ABCD:0000ABCD:66000000:vzclone:9000:root@pam:")

    for call in (task.status.get, task.log.get, task.delete):
        with pytest.raises(ResourceException) as caught:
            call()
        assert (caught.value.status_code, caught.value.errors) == (400, {"upid": "no such task"})


def test_task_log_has_its_total(make_lab: MakeLab) -> None:
    lab = make_lab()
    upid = lab.node.lxc(9000).clone.post(newid=5000, full=1)
    url = f"https://{lab.addresses.proxmox}:8006/api2/json/nodes/pve1/tasks/{upid}/log"
    headers = {"Authorization": f"PVEAPIToken=hostwright@pve!lab={TOKEN}"}

    log = requests.get(url, params={"limit": 0}, headers=headers, verify=str(lab.files.ca), timeout=10).json()

    assert log["total"] == len(log["data"])
    assert log["data"][-1] == {"n": log["total"], "t": "TASK OK"}


def test_resources_lag_behind(make_lab: MakeLab) -> None:
    lab = make_lab(speed=0.1)

    def read_resource() -> dict[str, Any]:
        found = [item for item in lab.client().cluster.resources.get(type="vm") if item["vmid"] == 5000]
        return dict(found[0])

    lab.node.lxc(9000).clone.post(newid=5000, hostname="late", full=1)
    assert read_resource() == {
        "id": "lxc/5000",
        "vmid": 5000,
        "node": "pve1",
        "type": "lxc",
        "status": "unknown",
    }
    wait_until(lambda: read_resource().get("name") == "late")


def test_missing_bridge_is_refused_but_saved(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.clone(5000)
    container = lab.node.lxc(5000)
    complaint = (500, "bridge 'vmbr9' does not exist")

    assert refusal(lambda: container.config.put(net0="name=eth0,bridge=vmbr9,ip=dhcp")) == complaint
    assert "vmbr9" in container.config.get()["net0"]
    assert refusal(lambda: container.config.put(cores=4)) == complaint


def test_clone_copies_everything_and_changes_nothing(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.clone(5000)
    address = lab.start(5000)
    assert httpx.post(f"http://{address}:18888/config", json=GAME).status_code == 202
    wait_until(lambda: httpx.get(f"http://{address}:18888/status?wait=2").json()["ready"])
    assert lab.finish(lab.node.lxc(5000).status.stop.post()) == "OK"

    lab.clone(5001, source=5000)
    other = lab.start(5001)

    assert other != address
    status = httpx.get(f"http://{other}:18888/status").json()
    assert (status["state"], status["config"]) == ("idle", GAME)
    back = lab.start(5000)
    assert back == address
    wait_until(lambda: httpx.get(f"http://{address}:18888/status?wait=2").json()["ready"])


def test_agent_token_is_wanted_by_the_guests(make_lab: MakeLab) -> None:
    lab = make_lab(agent_token="agents-own")
    lab.clone(5000)
    assert lab.finish(lab.node.lxc(5000).status.start.post()) == "OK"
    address = lab.pve.containers()[1]["address"]
    headers = {"Authorization": "Bearer agents-own"}

    def is_allowed() -> bool:
        try:
            return httpx.get(f"http://{address}:18888/status", headers=headers).status_code == 200
        except httpx.ConnectError:
            return False

    wait_until(is_allowed)
    assert httpx.get(f"http://{address}:18888/status").status_code == 401


def test_agent_faults_reach_running_guests(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.clone(5000)
    url = f"http://{lab.start(5000)}:18888/config"

    lab.pve.inject({"target": "agent", "behaviour": "reject", "vmid": 5001})
    lab.pve.inject({"target": "agent", "behaviour": "reject", "vmid": 5000, "message": "no", "times": 1})
    assert httpx.post(url, json=GAME).status_code == 422
    assert httpx.post(url, json=GAME).status_code == 202

    lab.pve.inject({"target": "agent", "behaviour": "reject"})
    lab.pve.clear_faults()
    wait_until(lambda: httpx.post(url, json=GAME).status_code == 202)


def test_http_faults_refuse_hang_and_drop(make_lab: MakeLab) -> None:
    lab = make_lab()
    start = {"target": "proxmox", "method": "post", "path": "/9000/clone", "times": 1}
    clone = lab.node.lxc(9000).clone

    lab.pve.inject({**start, "status": 595, "message": "Connection refused"})
    assert refusal(lambda: clone.post(newid=5000, full=1)) == (595, "Connection refused")
    lab.pve.inject({**start, "error": "hang", "seconds": 0.1})
    assert refusal(lambda: clone.post(newid=5000, full=1)) == (596, "Connection timed out")
    assert list(lab.locks()) == [9000]

    lab.pve.inject({**start, "error": "drop"})
    with pytest.raises(requests.exceptions.ConnectionError):
        clone.post(newid=5000, full=1)
    assert lab.locks() == {9000: None, 5000: None}, "the clone was accepted, though its client did not hear of it"
    lab.clone(5001)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (595, "Connection refused"),
        (596, "Connection timed out"),
        (500, "failed to read from command socket: Connection reset by peer"),
        (500, "can't lock file '/run/lock/lxc/pve-config-100.lock' - got timeout"),
    ],
)
def test_http_fault_fits_any_request_or_a_pattern(make_lab: MakeLab, status: int, message: str) -> None:
    lab = make_lab()
    fault = {"target": "proxmox", "status": status, "message": message}

    def request(method: str, path: str) -> tuple[int, str]:
        url = f"https://{lab.addresses.proxmox}:8006/api2/json/nodes/pve1/lxc/{path}"
        headers = {"Authorization": f"PVEAPIToken=hostwright@pve!lab={TOKEN}"}
        with requests.Session() as session:
            response = session.request(method, url, headers=headers, verify=str(lab.files.ca), timeout=10)
            return response.status_code, response.reason

    lab.pve.inject({**fault, "times": 2})
    assert request("GET", "9000/config") == (status, message)
    assert request("POST", "9000/clone") == (status, message)
    assert request("GET", "9000/config")[0] == 200

    lab.pve.inject({**fault, "path": "/nodes/*/lxc/*/config"})
    assert request("GET", "9000/config") == (status, message)
    assert request("PUT", "9000/config") == (status, message)
    assert request("GET", "9000/status/current")[0] == 200
    lab.pve.clear_faults()
    assert request("GET", "9000/config")[0] == 200


def test_delayed_request_is_carried_out_for_a_client_that_is_gone(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.pve.inject({"target": "proxmox", "path": "/9000/clone", "error": "delay", "seconds": 4, "times": 1})
    url = f"https://{lab.addresses.proxmox}:8006/api2/json/nodes/pve1/lxc/9000/clone"
    headers = {"Authorization": f"PVEAPIToken=hostwright@pve!lab={TOKEN}"}
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(url, data={"newid": 5000}, headers=headers, verify=str(lab.files.ca), timeout=(10, 1))
    assert list(lab.locks()) == [9000]
    wait_until(lambda: 5000 in lab.locks())


def test_cut_request_is_not_carried_out(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.pve.inject({"target": "proxmox", "method": "POST", "error": "cut", "times": 1})
    with pytest.raises(requests.exceptions.ConnectionError):
        lab.node.lxc(9000).clone.post(newid=5000, full=1)
    assert list(lab.locks()) == [9000]


def test_task_with_warnings_does_its_work(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.pve.inject({"target": "proxmox", "error": "task", "task": "vzclone", "message": "WARNINGS: 1", "times": 1})
    upid = lab.node.lxc(9000).clone.post(newid=5000, full=1)
    assert lab.finish(upid) == "WARNINGS: 1"
    assert lab.node.tasks(upid).log.get()[-1]["t"] == "TASK WARNINGS: 1"
    assert lab.locks() == {9000: None, 5000: None}


def test_late_task_does_its_work_after_its_end(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.clone(5000)
    lab.pve.inject({"target": "proxmox", "error": "late", "task": "vzstart", "seconds": 0.5, "times": 1})
    assert lab.finish(lab.node.lxc(5000).status.start.post()) == "OK"
    assert lab.node.lxc(5000).status.current.get()["status"] == "stopped"
    wait_until(lambda: lab.node.lxc(5000).status.current.get()["status"] == "running")


def test_unmarked_clone_shows_its_lock_alone(make_lab: MakeLab) -> None:
    lab = make_lab(speed=1)
    lab.pve.inject({"target": "proxmox", "error": "unmarked", "seconds": 0.5, "times": 1})
    lab.node.lxc(9000).clone.post(newid=5000, full=1, description=MARK)
    shown = lab.node.lxc(5000).config
    assert (set(shown.get()), shown.get()["lock"]) == ({"digest", "lock"}, "create")
    wait_until(lambda: shown.get().get("description"))
    assert shown.get()["lock"] == "create"


def test_full_storage_says_so(make_lab: MakeLab) -> None:
    lab = make_lab()
    status = lab.node.storage("local-lvm").status
    assert status.get()["avail"] > 2**30
    lab.pve.inject({"target": "proxmox", "error": "full"})
    assert status.get()["avail"] == 0
    lab.pve.clear_faults()
    assert status.get()["avail"] > 2**30


def test_tags_keep_their_case_where_the_cluster_says_so(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.clone(5000)
    config = lab.node.lxc(5000).config
    config.put(tags="Prod;b")
    assert config.get()["tags"] == "b;prod"
    lab.pve.inject({"target": "proxmox", "error": "case-sensitive-tags"})
    config.put(tags="b;Prod")
    assert config.get()["tags"] == "Prod;b"


def test_delay_ends_when_the_faults_are_cleared(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.pve.inject({"target": "proxmox", "path": "/9000/clone", "error": "delay", "seconds": 3600})
    with ThreadPoolExecutor(1) as threads:
        clone = threads.submit(lab.clone, 5000)
        wait_until(lambda: [event for event in lab.pve.history.after(0) if event["kind"] == "fault"])
        assert list(lab.locks()) == [9000]
        lab.thread.soon(lab.pve.clear_faults)
        clone.result()
    assert 5000 in lab.locks()


def test_daemon_restarts_and_tasks_and_guests_live_on(make_lab: MakeLab) -> None:
    lab = make_lab(speed=1)
    lab.clone(5000)
    address = lab.start(5000)
    upid = lab.node.lxc(9000).clone.post(newid=5001, full=1)

    lab.run(lab.pve.restart(3.0))
    with pytest.raises(requests.exceptions.ConnectionError):
        lab.node.status.get()
    assert answers(address)
    wait_until(lambda: is_up(lab))
    assert lab.finish(upid) == "OK"
    assert lab.locks()[5001] is None


def is_up(lab: Lab) -> bool:
    try:
        lab.client().version.get()
    except requests.exceptions.ConnectionError:
        return False
    return True


def test_agent_that_died_comes_back_when_a_fault_says_so(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.clone(5000)
    address = lab.start(5000)
    (first,) = lab.pve.processes()

    lab.pve.inject({"target": "agent", "behaviour": "die", "back": 0.2, "times": 1})
    assert httpx.post(f"http://{address}:18888/config", json=GAME).status_code == 202
    wait_until(lambda: [item["pid"] for item in lab.pve.processes()] not in ([], [first["pid"]]))
    wait_until(lambda: answers(address))

    lab.pve.clear_faults()
    lab.pve.inject({"target": "agent", "behaviour": "die", "times": 1})
    wait_until(lambda: httpx.post(f"http://{address}:18888/config", json=GAME).status_code == 202)
    wait_until(lambda: not lab.pve.processes())
    lab.finish(lab.node.lxc(5000).status.stop.post())
    actions = [event["action"] for event in lab.pve.history.after(0) if event["kind"] == "guest"]
    assert actions == ["start", "exit", "start", "exit", "stop"]


def test_history_tells_what_was_accepted_and_from_whom(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.clone(5000)
    with pytest.raises(ResourceException):
        lab.node.lxc(9000).clone.post(newid=5000)
    lab.pve.inject({"target": "proxmox", "path": "/start", "error": "drop", "times": 1})
    with pytest.raises(requests.exceptions.ConnectionError):
        lab.node.lxc(5000).status.start.post()
    lab.node.lxc(5000).config.put(cores=2)
    told = [event for event in lab.pve.history.after(0) if event["kind"] == "proxmox"]
    assert [(event["method"], event["path"], event["vmid"]) for event in told] == [
        ("POST", "/nodes/pve1/lxc/9000/clone", 5000),
        ("POST", "/nodes/pve1/lxc/5000/status/start", 5000),
        ("PUT", "/nodes/pve1/lxc/5000/config", 5000),
    ]
    assert {event["user"] for event in told} == {"hostwright@pve!lab"}
    assert {event["client"] for event in told} == {"127.0.0.1"}
    assert told[0]["upid"].startswith("UPID:pve1:")
    assert told[2]["upid"] is None
    assert [event["monotonic"] for event in told] == sorted(event["monotonic"] for event in told)


@pytest.mark.parametrize(
    "fault",
    [
        {"path": "/x", "status": 200},
        {"error": "task", "task": "vzstart"},
        {"error": "late", "task": "vzstart"},
        {"error": "late", "task": "vzclone", "seconds": 1},
        {"error": "unmarked"},
        {"method": "GET", "path": "/x"},
        {"error": "already_running"},
    ],
)
def test_inject_refuses_a_fault_without_effect(make_lab: MakeLab, fault: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        make_lab().pve.inject({"target": "proxmox", **fault})


def test_delete_with_a_body_is_not_implemented(make_lab: MakeLab) -> None:
    lab = make_lab()
    url = f"https://{lab.addresses.proxmox}:8006/api2/json/nodes/pve1/lxc/9000"
    headers = {"Authorization": f"PVEAPIToken=hostwright@pve!lab={TOKEN}"}

    answer = requests.delete(url, data={"purge": 1}, headers=headers, verify=str(lab.files.ca), timeout=10)

    assert answer.status_code == 501
    assert 9000 in lab.locks()


def test_restart_brings_the_containers_back(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.clone(5000)
    address = lab.start(5000)
    lab.pve.place_foreign(5005, "stranger")
    lab.down()
    assert not answers(address)

    lab.up()

    wait_until(lambda: answers(address))
    assert lab.start(5005) != address
    assert [(item["vmid"], item["hostname"], item["status"]) for item in lab.pve.containers()] == [
        (9000, "hostwright-template", "stopped"),
        (5000, "mc-5000", "running"),
        (5005, "stranger", "running"),
    ]


def test_interrupted_clone_is_gone_after_a_restart(make_lab: MakeLab) -> None:
    lab = make_lab(speed=1)
    lab.node.lxc(9000).clone.post(newid=5000, full=1)
    wait_until(lambda: "create" in (lab.root / "containers.json").read_text())
    saved = (lab.root / "containers.json").read_text()
    lab.down()
    (lab.root / "containers.json").write_text(saved)

    lab.up()

    assert lab.locks() == {9000: None}


def test_reboot_gives_a_new_process(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.clone(5000)
    address = lab.start(5000)
    (before,) = lab.pve.processes()

    assert lab.finish(lab.node.lxc(5000).status.reboot.post()) == "OK"

    (after,) = lab.pve.processes()
    assert before["pid"] != after["pid"]
    wait_until(lambda: answers(address))


def test_many_guests_start_and_end_together(make_lab: MakeLab) -> None:
    lab = make_lab()
    vmids = range(5000, 5012)
    for vmid in vmids:
        lab.clone(vmid)

    with ThreadPoolExecutor(len(vmids)) as pool:
        addresses = list(pool.map(lab.start, vmids))

    assert len(set(addresses)) == len(vmids)
    pids = [process["pid"] for process in lab.pve.processes()]
    assert len(pids) == len(vmids)
    lab.down()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    lab.up()


LAB_PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from orchestrator.lab.addresses import claim_block
from orchestrator.lab.guests.processes import ProcessGuests
from orchestrator.lab.history import History
from orchestrator.lab.proxmox.node import LabProxmox

async def main(root, host, block):
    history = History()
    guests = ProcessGuests(Path(root), int(block), speed=0, agent_token=None, history=history)
    pve = LabProxmox(host=host, port=0, root=Path(root), guests=guests, speed=0, token="t", history=history)
    await pve.restore()
    pve.place_foreign(5000, "guest")
    await pve._lxc_start("root@pam", {"node": "pve1", "vmid": 5000})
    print(json.dumps(pve.processes()), flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


def test_guests_die_with_a_killed_lab(tmp_path: Path) -> None:
    addresses, claimed = claim_block(tmp_path, block=None, last_used=None)
    command = [sys.executable, "-c", LAB_PROGRAM, str(tmp_path), addresses.proxmox, str(addresses.block)]
    with claimed, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as lab:
        assert lab.stdout is not None
        (guest,) = json.loads(lab.stdout.readline())
        address = f"127.{addresses.block}.16.1"
        try:
            wait_until(lambda: answers(address))
            lab.kill()

            wait_until(lambda: not answers(address))
            wait_until(lambda: not is_running(guest["pid"]))
        finally:
            lab.kill()
            if is_running(guest["pid"]):
                os.kill(guest["pid"], signal.SIGKILL)


def is_running(pid: int) -> bool:
    """Whether the process runs, which a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and os.getpgid(pid) == pid
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
