"""The verbs on containers against a Proxmox API over TLS: what they do, refuse, and wait out."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fakepve.model import TaskError

from orchestrator.drivers.proxmox.address import wait_for_address
from orchestrator.drivers.proxmox.answers import Kind
from orchestrator.drivers.proxmox.client import Gone, Present, Unknown
from orchestrator.drivers.proxmox.clone import Order, begin, clone
from orchestrator.drivers.proxmox.configure import Wanted, configure
from orchestrator.drivers.proxmox.delete import delete
from orchestrator.drivers.proxmox.power import start, stop
from orchestrator.drivers.proxmox.session import Session
from orchestrator.drivers.proxmox.template import find_trouble
from orchestrator.drivers.result import PhaseError
from tests.support.fix_proxmox import LO, NODE, TEMPLATE, TOKEN, TOKEN_NAME, USER, FakeProxmox

VMID, OURS, OTHER = 5000, "3f0c-ours", "77aa-other"
ORDER = Order(TEMPLATE, "mc-vanilla-5000", OURS, "operation-1")
WANTED = Wanted(OURS, "mc-vanilla-5000", cores=2, memory_mib=2048, bridge="vmbr0", interface="eth0")
CLONE = f"/nodes/{NODE}/lxc/{TEMPLATE}/clone"
ETH0 = {"name": "eth0", "ip-addresses": [{"ip-address": "fe80::1"}, {"ip-address": "192.0.2.7"}]}


def make(proxmox: FakeProxmox, owner: str = OURS, status: str = "stopped", lock: str | None = None) -> None:
    mark = {"description": f"Managed by Hostwright. instance={owner} operation=o\n"}
    proxmox.pve.add_ct(VMID, name="mc", node=NODE, status=status, lock=lock, config=mark)


# -- clone ---------------------------------------------------------------------------------------------------


def test_clone_makes_a_container_with_our_mark_and_a_second_time_nothing(proxmox: FakeProxmox) -> None:
    first = clone(proxmox.session(VMID), ORDER, check=False)
    assert first["changed"]
    assert first["upid"].startswith(f"UPID:{NODE}:")
    assert f"instance={OURS} operation=operation-1" in proxmox.pve.ct(VMID).config["description"]
    again = clone(proxmox.session(VMID), ORDER, check=False)
    assert not again["changed"]
    assert proxmox.changes() == [("POST", f"/api2/json{CLONE}")]


def test_clone_in_check_mode_changes_nothing(proxmox: FakeProxmox) -> None:
    assert clone(proxmox.session(VMID), ORDER, check=True)["changed"]
    assert proxmox.changes() == []


@pytest.mark.parametrize("check", [False, True])
def test_clone_onto_a_foreign_container_is_vmid_taken(proxmox: FakeProxmox, check: bool) -> None:
    make(proxmox, OTHER)
    with pytest.raises(PhaseError, match="instance 77aa-other") as caught:
        clone(proxmox.session(VMID), ORDER, check=check)
    assert caught.value.code == "vmid-taken"
    assert proxmox.changes() == []


def test_clone_meets_a_foreign_container_that_appeared_after_the_check(proxmox: FakeProxmox) -> None:
    # Proxmox refuses by name, and the container that exists by then does not carry our mark.
    proxmox.pve.fail("POST", CLONE, 500, f"CT {VMID} already exists on node 'pve2'")
    with pytest.raises(PhaseError) as caught:
        clone(proxmox.session(VMID), ORDER, check=False)
    assert caught.value.code == "vmid-taken"
    assert len(proxmox.changes()) == 1


@pytest.mark.parametrize("check", [False, True])
def test_clone_of_a_missing_template_says_so(proxmox: FakeProxmox, check: bool) -> None:
    order = Order(9999, "mc", OURS, "o")
    with pytest.raises(PhaseError, match="template 9999 does not exist on node pve1") as caught:
        clone(proxmox.session(VMID), order, check=check)
    assert caught.value.code == "template-missing"


def test_clone_waits_for_another_clone_of_the_template(proxmox: FakeProxmox) -> None:
    proxmox.pve.snapshot_lock(TEMPLATE, "disk")
    proxmox.soon(0.5, proxmox.pve.unlock, TEMPLATE)
    assert clone(proxmox.session(VMID), ORDER, check=False)["changed"]
    assert len(proxmox.changes()) > 1


def test_clone_of_a_template_that_stays_locked_is_clone_locked(proxmox: FakeProxmox) -> None:
    proxmox.pve.snapshot_lock(TEMPLATE, "backup")
    with pytest.raises(PhaseError, match=r"template 9000 was still locked .*\(CT is locked \(backup\)\)") as caught:
        clone(proxmox.session(VMID, timeout=0.6), ORDER, check=False)
    assert caught.value.code == "clone-locked"
    assert not caught.value.changed


def test_case_f8_says_what_is_wrong_with_a_template(proxmox: FakeProxmox, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.json"
    secrets.write_text(json.dumps({"proxmox_token": TOKEN}))
    secrets.chmod(0o600)
    where = proxmox.endpoint
    site = {name: getattr(where, name) for name in ("host", "port", "node", "user", "token_name", "ca_file")}
    proxmox.pve.add_ct(9001, name="a-container", node=NODE, config={})
    assert find_trouble(site, secrets, TEMPLATE) is None
    assert find_trouble(site, secrets, 9001) == (
        "is a container and no template: `pct template 9001` makes it one",
        False,
    )
    trouble = find_trouble(site, secrets, 9002)
    assert trouble is not None
    assert trouble[0].startswith("is not on node pve1")
    proxmox.pve.snapshot_lock(TEMPLATE, "disk")
    trouble = find_trouble(site, secrets, TEMPLATE)
    assert trouble == ("is locked (disk): when no clone of it is being made, `pct unlock 9000` on its node", True)
    secrets.write_text(json.dumps({"proxmox_token": "wrong"}))
    with pytest.raises(PhaseError, match="check its value in the secrets file"):
        find_trouble(site, secrets, TEMPLATE)


def test_clone_adopts_the_running_clone_of_a_dead_attempt(proxmox: FakeProxmox) -> None:
    make(proxmox, lock="create")
    proxmox.soon(0.4, proxmox.pve.unlock, VMID)
    assert not clone(proxmox.session(VMID), ORDER, check=False)["changed"]
    assert proxmox.changes() == []


def test_clone_whose_answer_got_lost_is_recognised_by_its_mark(proxmox: FakeProxmox) -> None:
    proxmox.pve.lose_answer_of = "/clone"
    assert clone(proxmox.session(VMID), ORDER, check=False)["changed"]
    assert len(proxmox.changes()) == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (595, "Connection refused"),
        (596, "Connection timed out"),
        (500, "failed to read from command socket: Connection reset by peer"),
        (500, "can't lock file '/run/lock/lxc/pve-config-9000.lock' - got timeout"),
    ],
)
def test_clone_tries_again_after_a_passing_error(proxmox: FakeProxmox, status: int, message: str) -> None:
    proxmox.pve.fail("POST", CLONE, status, message, times=2)
    assert clone(proxmox.session(VMID), ORDER, check=False)["changed"]
    assert len(proxmox.changes()) == 3


def test_clone_gives_up_on_an_unreachable_proxmox_at_its_deadline(proxmox: FakeProxmox) -> None:
    proxmox.pve.set_node_offline(NODE)
    with pytest.raises(PhaseError, match="check that pveproxy and pvedaemon run on node pve1") as caught:
        clone(proxmox.session(VMID, timeout=0.6), ORDER, check=False)
    assert caught.value.code == "proxmox-unreachable"
    assert caught.value.detail["http_status"] == 595
    assert proxmox.changes() == []


def test_begin_returns_while_the_clone_runs_and_the_wait_goes_on_from_its_upid(proxmox: FakeProxmox) -> None:
    proxmox.pve.time_scale, proxmox.pve.ct_secs["clone"] = 1, 1.5
    begun = begin(proxmox.session(VMID), ORDER, check=False)
    assert (begun["changed"], begun["pending"]) == (True, True)
    assert begun["clone_upid"].startswith(f"UPID:{NODE}:")
    assert proxmox.pve.ct(VMID).lock == "create"
    adopted = begin(proxmox.session(VMID), ORDER, check=False)
    assert (adopted["changed"], adopted["pending"], adopted["clone_upid"]) == (False, True, "")
    done = clone(proxmox.session(VMID), ORDER, check=False, upid=begun["clone_upid"])
    assert (done["changed"], done["upid"]) == (False, begun["clone_upid"])
    there = begin(proxmox.session(VMID), ORDER, check=False)
    assert (there["changed"], there["pending"], there["clone_upid"]) == (False, False, "")
    assert proxmox.changes() == [("POST", f"/api2/json{CLONE}")]


def test_wait_for_a_clone_has_only_what_is_left_of_the_time(proxmox: FakeProxmox) -> None:
    proxmox.pve.time_scale, proxmox.pve.ct_secs["clone"] = 1, 5
    begun = begin(proxmox.session(VMID), ORDER, check=False)
    session = Session(proxmox.endpoint, TOKEN, VMID, timeout=100, waited=99.8)
    with pytest.raises(PhaseError, match="not through after 100 s") as caught:
        clone(session, ORDER, check=False, upid=begun["clone_upid"])
    assert caught.value.code == "deadline-exceeded"
    session.proxmox.close()


def test_wait_for_a_clone_that_a_passing_error_ended_clones_again(proxmox: FakeProxmox) -> None:
    proxmox.pve.time_scale, proxmox.pve.ct_secs["clone"] = 1, 0.3
    begun = begin(proxmox.session(VMID), ORDER, check=False)
    proxmox.pve.tasks[begun["clone_upid"]].update(status="stopped", exitstatus="can't lock file 'x' - got timeout")
    assert clone(proxmox.session(VMID), ORDER, check=False, upid=begun["clone_upid"])["vmid"] == VMID
    assert proxmox.pve.ct(VMID).lock is None


def test_clone_into_a_full_storage_fails_with_the_task_log(proxmox: FakeProxmox) -> None:
    async def pause(seconds: float) -> None:
        if seconds == full_disk:
            raise TaskError("clone failed: unable to create image: No space left on device")

    full_disk = proxmox.pve.ct_secs["clone"] = 77
    proxmox.pve.pause = pause
    with pytest.raises(PhaseError, match="no room for template 9000") as caught:
        clone(proxmox.session(VMID), ORDER, check=False)
    assert caught.value.code == "storage-full"
    assert caught.value.detail["exitstatus"].startswith("clone failed: ")
    assert caught.value.detail["log"][-1].startswith("TASK ERROR: clone failed")


def test_clone_that_takes_too_long_names_its_task(proxmox: FakeProxmox) -> None:
    proxmox.pve.time_scale, proxmox.pve.ct_secs["clone"] = 1, 2
    with pytest.raises(PhaseError) as caught:
        clone(proxmox.session(VMID, timeout=0.3), ORDER, check=False)
    assert caught.value.code == "deadline-exceeded"
    assert caught.value.detail["upid"].startswith("UPID:")


def test_denied_request_names_token_and_privilege(proxmox: FakeProxmox) -> None:
    proxmox.pve.fail("POST", CLONE, 403, "Permission check failed (/vms/9000, VM.Clone)")
    with pytest.raises(PhaseError, match=r"token hostwright@pve!test lacks /vms/9000, VM\.Clone") as caught:
        clone(proxmox.session(VMID), ORDER, check=False)
    assert caught.value.code == "proxmox-denied"


def test_wrong_token_is_denied_and_never_shown(proxmox: FakeProxmox) -> None:
    proxmox.pve.apitokens.clear()
    with pytest.raises(PhaseError, match="does not accept the token hostwright@pve!test") as caught:
        clone(proxmox.session(VMID), ORDER, check=False)
    assert caught.value.code == "proxmox-denied"
    assert TOKEN not in str(caught.value.as_result())


# -- configure -----------------------------------------------------------------------------------------------


def test_configure_sets_what_differs_and_a_second_time_nothing(proxmox: FakeProxmox) -> None:
    clone(proxmox.session(VMID), ORDER, check=False)
    proxmox.pve.ct(VMID).config["tags"] = "Operator"
    before = configure(proxmox.session(VMID), WANTED, check=True)
    assert before["changed"]
    assert "cores" not in proxmox.pve.ct(VMID).config
    address = proxmox.pve.ct(VMID).config["net0"].split("hwaddr=")[1].split(",")[0]
    assert configure(proxmox.session(VMID), WANTED, check=False)["changed"]
    config = proxmox.pve.ct(VMID).config
    assert (config["cores"], config["memory"], config["hostname"]) == (2, 2048, "mc-vanilla-5000")
    assert config["tags"] == f"hostwright;hw-{OURS};operator"
    assert config["net0"] == f"name=eth0,bridge=vmbr0,firewall=1,hwaddr={address},ip=dhcp,type=veth"
    sent = len(proxmox.changes())
    assert not configure(proxmox.session(VMID), WANTED, check=False)["changed"]
    assert len(proxmox.changes()) == sent


def test_configure_only_ever_grows_the_disk(proxmox: FakeProxmox) -> None:
    clone(proxmox.session(VMID), ORDER, check=False)
    for gib, options in ((20, ["rootfs"]), (20, []), (10, [])):
        wanted = Wanted(OURS, "mc-vanilla-5000", 2, 2048, "vmbr0", "eth0", disk_gib=gib)
        result = configure(proxmox.session(VMID), wanted, check=False)
        assert set(options) <= set(result["options"])
        assert result["changed"] is bool(result["options"])
    assert proxmox.pve.ct(VMID).config["rootfs"].endswith("size=20G")


def test_configure_of_a_missing_container_fails(proxmox: FakeProxmox) -> None:
    with pytest.raises(PhaseError, match="container 5000 does not exist on node pve1: provision it first"):
        configure(proxmox.session(VMID), WANTED, check=False)


def test_configure_reads_again_when_somebody_else_changed_the_container(proxmox: FakeProxmox) -> None:
    make(proxmox)
    message = "detected modified configuration - file changed by other user? Try again."
    proxmox.pve.fail("PUT", f"/lxc/{VMID}/config", 500, message, times=1)
    assert configure(proxmox.session(VMID), WANTED, check=False)["changed"]


def test_configure_waits_for_a_backup(proxmox: FakeProxmox) -> None:
    make(proxmox, lock="backup")
    proxmox.soon(0.4, proxmox.pve.unlock, VMID)
    assert configure(proxmox.session(VMID), WANTED, check=False)["changed"]


# -- start, stop, delete -------------------------------------------------------------------------------------


def test_start_and_stop_twice(proxmox: FakeProxmox) -> None:
    make(proxmox)
    for verb_changed in (True, False):
        assert start(proxmox.session(VMID), OURS, check=False)["changed"] is verb_changed
    for verb_changed in (True, False):
        assert stop(proxmox.session(VMID), OURS, 5, check=False)["changed"] is verb_changed
    assert proxmox.pve.ct(VMID).status == "stopped"


def test_start_failure_carries_the_tasks_own_words(proxmox: FakeProxmox) -> None:
    make(proxmox)
    proxmox.pve.ct(VMID).start_error = "startup for container '5000' failed"
    with pytest.raises(PhaseError, match="failed: startup for container '5000' failed") as caught:
        start(proxmox.session(VMID, timeout=0.5), OURS, check=False)
    assert caught.value.code == "proxmox-task-failed"
    assert caught.value.detail["log"] == [
        "startup for container '5000' failed",
        "TASK ERROR: startup for container '5000' failed",
    ]


def test_start_of_a_missing_container_fails_without_a_request(proxmox: FakeProxmox) -> None:
    with pytest.raises(PhaseError, match="does not exist"):
        start(proxmox.session(VMID), OURS, check=False)
    assert proxmox.changes() == []


def test_start_whose_answer_got_lost_is_not_sent_again(proxmox: FakeProxmox) -> None:
    make(proxmox)
    proxmox.pve.lose_answer_of = "/status/start"
    assert start(proxmox.session(VMID), OURS, check=False)["changed"]
    assert len(proxmox.changes()) == 1


def test_start_waits_out_a_lock_that_shows_only_in_the_task(proxmox: FakeProxmox) -> None:
    make(proxmox, lock="backup")
    proxmox.soon(0.4, proxmox.pve.unlock, VMID)
    assert start(proxmox.session(VMID), OURS, check=False)["changed"]


def test_stop_forces_a_container_that_does_not_shut_down(proxmox: FakeProxmox) -> None:
    make(proxmox, status="running")
    proxmox.pve.time_scale, proxmox.pve.ct(VMID).shutdown_secs = 1, 600
    assert stop(proxmox.session(VMID), OURS, 1, check=False)["changed"]
    assert proxmox.pve.ct(VMID).status == "stopped"


def test_delete_proves_that_the_container_is_gone(proxmox: FakeProxmox) -> None:
    make(proxmox)
    assert delete(proxmox.session(VMID), OURS, check=True)["changed"]
    assert proxmox.pve.ct(VMID) is not None
    assert delete(proxmox.session(VMID), OURS, check=False)["changed"]
    assert proxmox.pve.ct(VMID) is None
    assert not delete(proxmox.session(VMID), OURS, check=False)["changed"]


def test_delete_of_a_running_container_is_refused(proxmox: FakeProxmox) -> None:
    make(proxmox, status="running")
    with pytest.raises(PhaseError, match="container is running") as caught:
        delete(proxmox.session(VMID), OURS, check=False)
    assert caught.value.code == "proxmox-task-failed"


def test_delete_whose_answer_got_lost_ends_well(proxmox: FakeProxmox) -> None:
    make(proxmox)
    proxmox.pve.lose_answer_of = f"/lxc/{VMID}"
    assert delete(proxmox.session(VMID), OURS, check=False)["changed"]
    assert len(proxmox.changes()) == 1


@pytest.mark.parametrize(("kind", "status"), [("vzdump", "running"), ("vzclone", "stopped")])
def test_delete_aborts_nothing_but_a_running_clone(proxmox: FakeProxmox, kind: str, status: str) -> None:
    make(proxmox, lock="create")
    upid = f"UPID:{NODE}:00000001:00000002:00000003:{kind}:{VMID}:{USER}!{TOKEN_NAME}:"
    task = {"upid": upid, "node": NODE, "type": kind, "id": str(VMID), "user": f"{USER}!{TOKEN_NAME}"}
    proxmox.pve.tasks[upid] = {**task, "status": status, "log": []}
    proxmox.soon(0.4, proxmox.pve.unlock, VMID)
    assert delete(proxmox.session(VMID), OURS, upid, check=False)["changed"]
    assert {path for _, path in proxmox.changes()} == {f"/api2/json/nodes/{NODE}/lxc/{VMID}"}


@pytest.mark.parametrize("status", ["stopped", "running"])
@pytest.mark.parametrize("verb", ["configure", "start", "stop", "delete"])
def test_no_verb_touches_a_container_that_is_not_ours(proxmox: FakeProxmox, verb: str, status: str) -> None:
    make(proxmox, OTHER, status)
    session = proxmox.session(VMID)
    calls: dict[str, Callable[[], object]] = {
        "configure": lambda: configure(session, WANTED, check=False),
        "start": lambda: start(session, OURS, check=False),
        "stop": lambda: stop(session, OURS, 5, check=False),
        "delete": lambda: delete(session, OURS, check=False),
    }
    with pytest.raises(PhaseError) as caught:
        calls[verb]()
    assert caught.value.code == "not-ours"
    assert proxmox.changes() == []


def test_stop_and_delete_never_take_an_error_for_gone(proxmox: FakeProxmox) -> None:
    make(proxmox, status="running")
    proxmox.pve.set_node_offline(NODE)
    verbs: list[Callable[[], object]] = [
        lambda: stop(proxmox.session(VMID, 0.3), OURS, 5, check=False),
        lambda: delete(proxmox.session(VMID, 0.3), OURS, check=False),
    ]
    for verb in verbs:
        with pytest.raises(PhaseError) as caught:
            verb()
        assert caught.value.code == "proxmox-unreachable"


@pytest.mark.parametrize("owner", [OURS, OTHER])
@pytest.mark.parametrize("verb", ["stop", "delete"])
def test_container_that_moved_to_another_node_is_not_gone(proxmox: FakeProxmox, verb: str, owner: str) -> None:
    proxmox.pve.add_node("pve2")
    mark = {"description": f"Managed by Hostwright. instance={owner} operation=o\n"}
    proxmox.pve.add_ct(VMID, name="mc", node="pve2", status="running", config=mark)
    session = proxmox.session(VMID)
    calls: dict[str, Callable[[], object]] = {
        "stop": lambda: stop(session, OURS, 5, check=False),
        "delete": lambda: delete(session, OURS, check=False),
    }
    with pytest.raises(PhaseError, match="is not on node pve1, but the VMID exists on another node") as caught:
        calls[verb]()
    assert (caught.value.code, caught.value.changed) == ("proxmox-task-failed", False)
    assert proxmox.changes() == []


@pytest.mark.parametrize("verb", ["stop", "delete"])
def test_container_that_no_node_has_is_gone(proxmox: FakeProxmox, verb: str) -> None:
    session = proxmox.session(VMID)
    result = stop(session, OURS, 5, check=False) if verb == "stop" else delete(session, OURS, check=False)
    assert not result["changed"]
    assert [path for _, path, _ in proxmox.pve.requests][-1].endswith("/cluster/nextid")


# -- address -------------------------------------------------------------------------------------------------


def test_address_is_seen_when_it_comes(proxmox: FakeProxmox) -> None:
    make(proxmox, status="running")
    proxmox.soon(0.3, proxmox.pve.reported.__setitem__, VMID, [LO, ETH0])
    result = wait_for_address(proxmox.session(VMID), "eth0", window=3)
    assert (result["done"], result["address"]) == (True, "192.0.2.7")


def test_address_that_does_not_come_names_what_was_there(proxmox: FakeProxmox) -> None:
    make(proxmox, status="running")
    proxmox.pve.reported[VMID] = [LO, {"name": "eth0", "ip-addresses": [{"ip-address": "fe80::1"}]}]
    result = wait_for_address(proxmox.session(VMID), "eth0", window=0.2)
    assert (result["done"], result["code"]) == (False, "ip-timeout")
    assert "lo 127.0.0.1, eth0 fe80::1" in result["msg"]


def test_global_ipv6_address_alone_is_no_address(proxmox: FakeProxmox) -> None:
    make(proxmox, status="running")
    proxmox.pve.reported[VMID] = [LO, {"name": "eth0", "ip-addresses": [{"ip-address": "2001:db8::7"}]}]
    result = wait_for_address(proxmox.session(VMID), "eth0", window=0.2)
    assert (result["done"], result["code"]) == (False, "ip-timeout")
    assert "got no IPv4 address on eth0" in result["msg"]
    assert "eth0 2001:db8::7 (seen, but not IPv4)" in result["msg"]


def test_address_of_a_stopped_container_is_not_waited_for(proxmox: FakeProxmox) -> None:
    make(proxmox)
    with pytest.raises(PhaseError, match="container 5000 is stopped") as caught:
        wait_for_address(proxmox.session(VMID), "eth0", window=3)
    assert caught.value.code == "ip-timeout"


def test_address_window_ends_although_proxmox_does_not_answer(proxmox: FakeProxmox) -> None:
    proxmox.pve.set_node_offline(NODE)
    result = wait_for_address(proxmox.session(VMID), "eth0", window=0.2)
    assert (result["done"], result["code"]) == (False, "proxmox-unreachable")


# -- reading -------------------------------------------------------------------------------------------------


def test_readings_are_three_valued(proxmox: FakeProxmox) -> None:
    make(proxmox, status="running")
    client = proxmox.client()
    reading = client.status(VMID)
    assert isinstance(reading, Present)
    assert reading.value.running
    assert isinstance(client.status(4999), Gone)
    proxmox.pve.set_node_offline(NODE)
    unknown = client.status(VMID)
    assert isinstance(unknown, Unknown)
    assert (unknown.error.kind, unknown.error.status) == (Kind.UNREACHABLE, 595)
