"""What is waited out and what ends a phase, against the lab's Proxmox: by what was asked, and by what is there."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.drivers.proxmox import proof
from orchestrator.drivers.proxmox.address import wait_for_address
from orchestrator.drivers.proxmox.clone import Order, begin, clone
from orchestrator.drivers.proxmox.configure import Wanted, configure
from orchestrator.drivers.proxmox.delete import delete
from orchestrator.drivers.proxmox.power import start, stop
from orchestrator.drivers.proxmox.session import Session
from orchestrator.drivers.result import PhaseError
from orchestrator.lab.proxmox.layout import TEMPLATE
from orchestrator.lab.proxmox.privileges import STORAGE
from tests.support.fix_lab_proxmox import Lab, MakeLab

VMID, OURS = 5000, "3f0c-ours"
ORDER = Order(TEMPLATE, "mc-5000", OURS, "operation-1")
WANTED = Wanted(OURS, "mc-5000", cores=2, memory_mib=1024, bridge="vmbr1", interface="eth0", disk_gib=9)
VERBS: dict[str, Callable[[Session], dict[str, Any]]] = {
    "clone": lambda session: clone(session, ORDER, check=False),
    "configure": lambda session: configure(session, WANTED, check=False),
    "start": lambda session: start(session, OURS, check=False),
    "address": lambda session: wait_for_address(session, "eth0", window=10),
    "stop": lambda session: stop(session, OURS, 1, check=False),
    "delete": lambda session: delete(session, OURS, check=False),
}
CLONE, CONFIG = "/lxc/9000/clone", f"/lxc/{VMID}/config"
BUSY = f"unable to open file '/etc/pve/nodes/pve1/lxc/{VMID}.conf.tmp.811' - Device or resource busy"
AWAY = "RPCEnvironment init request failed: Unable to load access control list: Connection refused"


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    return make_lab()


def fault(lab: Lab, **fields: Any) -> None:
    lab.pve.inject({"target": "proxmox", **fields})


def run(lab: Lab, *verbs: str, timeout: float = 20) -> dict[str, Any]:
    """The result of the last of these verbs."""
    results = [VERBS[verb](lab.session(VMID, timeout)) for verb in verbs]
    return results[-1]


def run_up_to(lab: Lab, verb: str) -> None:
    """What has to be done before this verb."""
    run(lab, "clone", *list(VERBS)[1 : list(VERBS).index(verb)])


def sent(lab: Lab, method: str = "") -> list[str]:
    """The paths of the accepted requests that change something."""
    told = [event for event in lab.pve.history.after(0) if event["kind"] == "proxmox"]
    return [event["path"] for event in told if event["method"] == (method or event["method"])]


# -- every verb ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500, "message": "EOF"},
        {"status": 500, "message": "cfs-lock 'file-user_cfg' error: got lock request timeout"},
        {"status": 408, "message": "Request Timeout"},
        {"status": 429, "message": "Too Many Requests"},
        {"status": 502, "message": "Bad Gateway"},
        {"status": 503, "message": "Service Unavailable"},
        {"status": 504, "message": "Gateway Time-out"},
        {"status": 596, "message": "Broken pipe"},
        {"status": 599, "message": "Too many redirections"},
        {"error": "cut"},
        {"error": "drop"},
    ],
    ids=lambda answer: f"{answer.get('status', '')} {answer.get('message', answer.get('error'))}".strip(),
)
def test_every_verb_waits_out_an_answer_that_says_nothing(lab: Lab, answer: dict[str, Any]) -> None:
    for verb in VERBS:
        for method in ("GET", "POST", "PUT", "DELETE"):
            fault(lab, method=method, times=2, **answer)
        run(lab, verb)
        lab.pve.clear_faults()
    assert lab.pve.ct(VMID) is None
    assert sent(lab, "POST") == [
        f"/nodes/pve1{CLONE}",
        *(f"/nodes/pve1/lxc/{VMID}/status/{verb}" for verb in ("start", "shutdown")),
    ]


@pytest.mark.parametrize(("verb", "task"), [("start", "vzstart"), ("stop", "vzshutdown"), ("delete", "vzdestroy")])
@pytest.mark.parametrize("text", ["unexpected status", "EOF", "command 'lxc-start' failed: exit code 1", "got timeout"])
def test_every_task_that_ended_with_an_unknown_text_is_tried_again(lab: Lab, verb: str, task: str, text: str) -> None:
    run_up_to(lab, verb)
    fault(lab, error="task", task=task, message=text, times=2)
    assert run(lab, verb)["changed"]


@pytest.mark.parametrize("task", ["vzclone", "vzstart", "vzshutdown", "vzdestroy"])
def test_task_with_warnings_went_well(lab: Lab, task: str) -> None:
    fault(lab, error="task", task=task, message="WARNINGS: 1", times=1)
    run(lab, *VERBS)
    assert lab.pve.ct(VMID) is None
    assert len(sent(lab, "POST")) == 3


@pytest.mark.parametrize(
    ("verb", "status", "message"),
    [
        ("clone", 400, "Parameter verification failed."),
        ("clone", 403, "Permission check failed (/vms/9000, VM.Clone)"),
        ("clone", 500, "storage 'nowhere' does not exist"),
        ("clone", 500, "no space left on device"),
        ("configure", 500, "bridge 'vmbr1' does not exist"),
        ("configure", 501, "Method 'PUT' not implemented"),
        ("delete", 500, f"can't remove CT {VMID} - protection mode enabled"),
        ("delete", 500, f"unable to destroy CT {VMID} - container is running"),
    ],
)
def test_what_is_known_to_last_ends_the_phase_at_once(lab: Lab, verb: str, status: int, message: str) -> None:
    if verb != "clone":
        run_up_to(lab, verb)
    method = {"clone": "POST", "configure": "PUT", "delete": "DELETE"}[verb]
    fault(lab, method=method, status=status, message=message)
    before = time.monotonic()
    with pytest.raises(PhaseError) as caught:
        run(lab, verb)
    assert caught.value.detail["proxmox"] == message
    assert time.monotonic() - before < 5


def test_waiting_is_told_once_in_the_result(lab: Lab) -> None:
    fault(lab, method="POST", path=CLONE, status=500, message=BUSY, times=3)
    assert run(lab, "clone")["progress"].endswith(", after Proxmox was asked 3 times more")


# -- the cases -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["clone failed: cfs-lock 'storage-nas1' error: got lock request timeout", "unexpected status", "EOF"]
)
def test_case_b1_clone_that_ends_with_a_cfs_lock_is_made_again(lab: Lab, text: str) -> None:
    fault(lab, error="task", task="vzclone", message=text, times=2)
    assert run(lab, "clone")["changed"]
    assert len(sent(lab, "POST")) == 3
    assert OURS in lab.pve.ct(VMID).config["description"]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (500, BUSY),
        (500, "unable to fork worker - Resource temporarily unavailable"),
        (429, "Too Many Requests"),
        (408, "Request Timeout"),
    ],
)
def test_case_b2_clone_request_that_was_not_accepted_is_sent_again(lab: Lab, status: int, message: str) -> None:
    fault(lab, method="POST", path=CLONE, status=status, message=message, times=2)
    assert run(lab, "clone")["changed"]
    assert len(sent(lab, "POST")) == 1


def test_case_b3_interfaces_that_cannot_be_read_are_read_again(lab: Lab) -> None:
    run(lab, "clone", "configure", "start")
    message = "command 'nsenter --net' failed: exit code 1"
    fault(lab, method="GET", path=f"/lxc/{VMID}/interfaces", status=500, message=message, times=3)
    assert run(lab, "address")["address"]


def test_case_b3_interfaces_that_are_never_read_are_unreachable_after_the_window(lab: Lab) -> None:
    run(lab, "clone", "configure", "start")
    fault(lab, method="GET", path="/interfaces", status=500, message="command 'nsenter --net' failed: exit code 1")
    seen = wait_for_address(lab.session(VMID), "eth0", window=0.3)
    assert (seen["done"], seen["code"]) == (False, "proxmox-unreachable")
    assert "nsenter" in seen["msg"]


def test_case_b4_deletion_of_a_busy_dataset_is_tried_again(lab: Lab) -> None:
    run(lab, "clone")
    text = f"zfs error: cannot destroy 'rpool/data/subvol-{VMID}-disk-0': dataset is busy"
    fault(lab, error="task", task="vzdestroy", message=text, times=2)
    assert run(lab, "delete")["changed"]
    assert lab.pve.ct(VMID) is None
    assert len(sent(lab, "DELETE")) == 3


def test_case_b4_deletion_that_stays_busy_fails_with_the_tasks_words(lab: Lab) -> None:
    run(lab, "clone")
    fault(lab, error="task", task="vzdestroy", message="zfs error: dataset is busy")
    with pytest.raises(PhaseError, match="dataset is busy") as caught:
        run(lab, "delete", timeout=1)
    assert caught.value.code == "proxmox-task-failed"
    assert lab.pve.ct(VMID) is not None


@pytest.mark.parametrize("verb", ["configure", "start", "address", "stop", "delete"])
def test_case_b5_cluster_file_system_that_is_away_is_waited_for(lab: Lab, verb: str) -> None:
    run_up_to(lab, verb)
    missing = f"unable to open file '/etc/pve/nodes/pve1/lxc/{VMID}.conf.tmp.1634' - No such file or directory"
    fault(lab, status=401, message="Authentication failed!", times=2)
    fault(lab, status=500, message=AWAY, times=3)
    for method in ("PUT", "POST", "DELETE"):
        fault(lab, method=method, status=401, message="Authentication failed!", times=1)
        fault(lab, method=method, status=500, message=missing, times=2)
    run(lab, verb)


def test_case_b5_token_that_never_worked_ends_the_phase_at_once(lab: Lab) -> None:
    session = Session(lab.session(VMID).endpoint, "never-worked", VMID, timeout=20)
    before = time.monotonic()
    with pytest.raises(PhaseError, match="check its value in the secrets file") as caught:
        clone(session, ORDER, check=False)
    session.proxmox.close()
    assert caught.value.code == "proxmox-denied"
    assert time.monotonic() - before < 2


def test_case_b5_token_that_worked_and_is_refused_for_good_is_denied_in_the_end(lab: Lab) -> None:
    run(lab, "clone")
    lab.pve.apitokens.clear()
    with pytest.raises(PhaseError, match="check its value in the secrets file") as caught:
        run(lab, "delete", timeout=1)
    assert caught.value.code == "proxmox-denied"


def test_case_b5_proof_of_a_token_is_kept_for_the_next_playbook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTWRIGHT_STATE_DIR", str(tmp_path))
    proof.note_that_it_works("pve1:8006 a@pve!b", "planted-token")
    proof._known.clear()  # as in another process
    assert proof.has_worked("pve1:8006 a@pve!b", "planted-token")
    assert not proof.has_worked("pve1:8006 a@pve!b", "another-token")
    assert not proof.has_worked("pve2:8006 a@pve!b", "planted-token")
    assert "planted" not in "".join(path.name + path.read_text() for path in tmp_path.iterdir())


@pytest.mark.parametrize("storage", [None, STORAGE])
def test_case_b6_clone_that_fails_on_a_full_storage_is_storage_full(lab: Lab, storage: str | None) -> None:
    fault(lab, error="full")
    fault(lab, error="task", task="vzclone", message="command 'rsync --stats' failed: exit code 11")
    with pytest.raises(PhaseError, match=f"exit code 11; 0 MiB are free on storage {STORAGE}") as caught:
        clone(lab.session(VMID), Order(TEMPLATE, "mc", OURS, "o", storage=storage), check=False)
    assert caught.value.code == "storage-full"


def test_case_b6_clone_that_fails_with_room_left_is_made_again(lab: Lab) -> None:
    fault(lab, error="task", task="vzclone", message="command 'rsync --stats' failed: exit code 11", times=1)
    assert run(lab, "clone")["changed"]


def test_case_b6_start_that_fails_on_a_full_storage_is_storage_full(lab: Lab) -> None:
    run(lab, "clone", "configure")
    fault(lab, error="full")
    fault(lab, error="task", task="vzstart", message=f"startup for container '{VMID}' failed")
    with pytest.raises(PhaseError) as caught:
        run(lab, "start")
    assert caught.value.code == "storage-full"


def test_case_b8_tags_that_the_cluster_restricts_have_the_least_remedy(lab: Lab) -> None:
    run(lab, "clone")
    fault(lab, method="PUT", path=CONFIG, status=403, message="Permission check failed (/, Sys.Modify)")
    with pytest.raises(PhaseError, match=r"user-tag-access in datacenter\.cfg") as caught:
        run(lab, "configure")
    assert caught.value.code == "proxmox-denied"
    assert f"hw-{OURS}" in caught.value.message
    assert "grant it" not in caught.value.message
    assert "Sys.Modify on / is not needed" in caught.value.message


@pytest.mark.parametrize("tags", ["Prod;10.0.0.9", "Prod,10.0.0.9", "10.0.0.9 Prod"])
def test_case_b9_tags_of_others_stay_as_they_are(lab: Lab, tags: str) -> None:
    fault(lab, error="case-sensitive-tags")
    run(lab, "clone")
    lab.pve.ct(VMID).config["tags"] = tags
    run(lab, "configure")
    assert set(lab.pve.ct(VMID).config["tags"].split(";")) == {"Prod", "10.0.0.9", "hostwright", f"hw-{OURS}"}
    assert not run(lab, "configure")["changed"]


def test_case_a17_clone_whose_answer_is_lost_before_its_mark_is_there_is_recognised(lab: Lab) -> None:
    fault(lab, error="unmarked", seconds=0.6, times=1)
    fault(lab, method="POST", path=CLONE, error="drop", times=1)
    lab.pve.time_scale, lab.pve.ct_secs["clone"] = 1, 1.2
    assert run(lab, "clone")["changed"]
    assert len(sent(lab, "POST")) == 1


def test_case_a17_deletion_waits_for_the_mark(lab: Lab) -> None:
    fault(lab, error="unmarked", seconds=0.6, times=1)
    lab.pve.time_scale, lab.pve.ct_secs["clone"] = 1, 1.2
    begin(lab.session(VMID), ORDER, check=False)
    assert run(lab, "delete")["changed"]
    assert lab.pve.ct(VMID) is None


def test_case_a17_clone_of_somebody_else_without_a_mark_is_taken_once_its_lock_is_gone(lab: Lab) -> None:
    lab.pve.time_scale, lab.pve.ct_secs["clone"] = 1, 0.6
    lab.node.lxc(TEMPLATE).clone.post(newid=VMID, full=1)
    with pytest.raises(PhaseError) as caught:
        run(lab, "clone")
    assert caught.value.code == "vmid-taken"
    assert lab.pve.ct(VMID).lock is None


def test_case_a17_lock_that_stays_without_a_mark_is_never_called_foreign(lab: Lab) -> None:
    lab.pve.add_ct(VMID, "x", node="pve1", lock="create", config={})
    with pytest.raises(PhaseError) as caught:
        run(lab, "clone", timeout=0.5)
    assert caught.value.code == "clone-locked"
    assert sent(lab) == []


@pytest.mark.parametrize(
    ("verb", "task", "state"),
    [("start", "vzstart", "running"), ("stop", "vzshutdown", "stopped"), ("delete", "vzdestroy", None)],
)
def test_case_a18_state_that_was_asked_for_is_waited_for(lab: Lab, verb: str, task: str, state: str | None) -> None:
    run_up_to(lab, verb)
    fault(lab, error="late", task=task, seconds=0.7, times=1)
    before = len(sent(lab))
    assert run(lab, verb)["changed"]
    assert getattr(lab.pve.ct(VMID), "status", None) == state
    assert len(sent(lab)) == before + 1, "what went well is not sent again"


def test_case_a18_larger_disk_is_waited_for(lab: Lab) -> None:
    run(lab, "clone")
    fault(lab, error="late", task="resize", seconds=0.7, times=1)
    assert "rootfs" in run(lab, "configure")["options"]
    assert lab.pve.ct(VMID).config["rootfs"].endswith("size=9G")
    assert len(sent(lab, "PUT")) == 2, "what went well is not sent again"


@pytest.mark.parametrize(
    ("verb", "task", "code", "words"),
    [
        ("start", "vzstart", "deadline-exceeded", "is stopped and not running"),
        ("configure", "resize", "deadline-exceeded", r"as large as before \(8 GiB\) and not larger"),
        ("stop", "vzshutdown", "deadline-exceeded", "is running and not stopped"),
        ("delete", "vzdestroy", "proxmox-task-failed", "it is still there"),
    ],
)
def test_case_a18_state_that_never_comes_fails(lab: Lab, verb: str, task: str, code: str, words: str) -> None:
    run_up_to(lab, verb)
    fault(lab, error="late", task=task, seconds=60, times=1)
    with pytest.raises(PhaseError, match=words) as caught:
        run(lab, verb, timeout=1)
    assert caught.value.code == code
