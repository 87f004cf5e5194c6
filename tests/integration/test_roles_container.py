"""The container roles through their phase playbooks, as a person and as the orchestrator run them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.drivers.proxmox.client import Endpoint
from orchestrator.drivers.proxmox.clone import Order, begin
from orchestrator.drivers.proxmox.delete import delete
from orchestrator.drivers.proxmox.session import Session
from tests.support.fix_lab import Lab
from tests.support.fix_proxmox import TOKEN, FakeProxmox
from tests.support.playbook import CREATE, DELETE, ROOT, Run, play, unsafe

OURS = "3f0c9a50-0000-4000-8000-000000000001"


def run(state_dir: Path, phases: tuple[str, ...], *arguments: str, **variables: Any) -> Run:
    return play(phases, state_dir, {"vmid": 5000, "server_id": OURS, **variables}, arguments=arguments)


def container(lab: Lab, vmid: int) -> dict[str, Any] | None:
    return next((entry for entry in lab.inventory()["containers"] if entry["vmid"] == vmid), None)


def test_phases_make_a_container_and_remove_it_again(lab: Lab) -> None:
    before = lab.inventory()["containers"]
    foreseen = run(lab.state_dir, CREATE + DELETE, "--check", vmid=5100).ok()
    assert foreseen.changed == ["Clone the template", "Configure the container", "Start the container"]
    assert lab.inventory()["containers"] == before

    first = run(lab.state_dir, CREATE, vmid=5100).ok()
    assert first.changed == ["Clone the template", "Configure the container", "Start the container"]
    made = container(lab, 5100)
    assert made is not None
    assert (made["status"], made["address"]) == ("running", first.tasks[-1].result["address"])

    assert run(lab.state_dir, DELETE, vmid=5100).ok().changed == ["Stop the container", "Delete the container"]
    assert lab.inventory()["containers"] == before


@pytest.mark.parametrize(
    ("phase", "code"),
    [
        ("clone_container", "vmid-taken"),
        ("configure_container", "not-ours"),
        ("start_container", "not-ours"),
        ("delete_container", "not-ours"),
    ],
)
def test_foreign_container_is_refused_and_stays_as_it_is(proxmox: FakeProxmox, phase: str, code: str) -> None:
    config = {"description": "Managed by Hostwright. instance=other operation=o\n"}
    proxmox.pve.add_ct(5000, node="pve1", config=config)
    refused = run(proxmox.write_site(), (f"phases/{phase}",))
    assert (refused.code, refused.failure["code"]) == (2, code)
    assert proxmox.changes() == []


def test_container_of_nobody_known_is_not_ours_either(lab: Lab) -> None:
    lab.place_foreign(5101, "somebody-elses")
    before = container(lab, 5101)
    refused = run(lab.state_dir, DELETE, vmid=5101)
    assert (refused.code, refused.failure["code"]) == (2, "not-ours")
    assert container(lab, 5101) == before


def test_passing_errors_are_waited_out(clean_lab: Lab) -> None:
    for path, status, message in (
        ("/nodes/pve1/lxc/9000/clone", 500, "CT is locked (disk)"),
        ("/nodes/pve1/lxc/5102/status/start", 595, "Connection refused"),
        ("/nodes/pve1/lxc/5102/status/shutdown", 500, "short read on command socket"),
    ):
        clean_lab.fault(target="proxmox", method="POST", path=path, status=status, message=message, times=2)
    made = run(clean_lab.state_dir, CREATE + DELETE, vmid=5102).ok()
    assert len(made.changed) == 5
    assert container(clean_lab, 5102) is None


def test_case_b5_refused_token_that_worked_in_an_earlier_playbook_is_waited_out(clean_lab: Lab) -> None:
    run(clean_lab.state_dir, CREATE[:1], vmid=5104).ok()
    refusal = {"target": "proxmox", "status": 401, "message": "Authentication failed!", "times": 2}
    clean_lab.fault(**refusal)
    run(clean_lab.state_dir, DELETE, vmid=5104).ok()
    for proof in clean_lab.state_dir.glob("proxmox-token-worked-*"):
        proof.unlink()
    clean_lab.fault(**refusal)
    refused = run(clean_lab.state_dir, DELETE, vmid=5104)
    assert (refused.code, refused.failure["code"]) == (2, "proxmox-denied")


@contextmanager
def begun_clone(lab: Lab, vmid: int, speed: float) -> Iterator[tuple[str, Session]]:
    """A clone of ours that goes on for two seconds times `speed`, as a playbook leaves it that was killed."""
    session = Session(Endpoint(**lab.site["proxmox"]), lab.secrets["proxmox_token"], vmid, timeout=60)
    lab.set_speed(speed)
    try:
        order = Order(lab.site["templates"]["game"], f"mc-{vmid}", OURS, "operation-1")
        yield begin(session, order, check=False)["clone_upid"], session
    finally:
        lab.set_speed(1)
        session.proxmox.close()


def lock_of(lab: Lab, vmid: int) -> Any:
    found = container(lab, vmid)
    assert found is not None
    return found["lock"]


def test_running_clone_is_aborted_by_its_upid(slow_lab: Lab) -> None:
    with begun_clone(slow_lab, 5110, speed=5) as (upid, session):
        assert (lock_of(slow_lab, 5110), lock_of(slow_lab, 9000)) == ("create", "disk")
        deleted = run(slow_lab.state_dir, DELETE, vmid=5110, clone_upid=upid).ok()
        assert deleted.changed == ["Delete the container"]
        assert session.ended(upid) == "interrupted by signal"
    assert container(slow_lab, 5110) is None
    assert lock_of(slow_lab, 9000) is None
    assert run(slow_lab.state_dir, DELETE, vmid=5110, clone_upid=upid).ok().changed == []


@pytest.mark.parametrize("upid", ["", "UPID:pve1:00000001:00000002:00000003:vzclone:9000:root@pam:", "../9000"])
def test_running_clone_without_its_upid_is_waited_for(slow_lab: Lab, upid: str) -> None:
    with begun_clone(slow_lab, 5111, speed=1) as (clone, session):
        assert delete(session, OURS, upid, check=False)["changed"]
        assert session.ended(clone) == "OK"
    assert container(slow_lab, 5111) is None


def test_missing_template_fails_with_cause_and_remedy(lab: Lab) -> None:
    missing = run(lab.state_dir, CREATE, vmid=5103, clone_container_template=9999)
    assert (missing.code, missing.failure["code"]) == (2, "template-missing")
    assert "correct hostwright_templates" in missing.failure["msg"]
    assert container(lab, 5103) is None


def test_address_by_hand_needs_a_vmid_and_reads_well(proxmox: FakeProxmox) -> None:
    state_dir = proxmox.write_site()
    proxmox.pve.add_ct(5000, node="pve1", status="running")
    proxmox.pve.reported[5000] = [{"name": "eth0", "ip-addresses": [{"ip-address": "192.0.2.7"}]}]
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "playbooks/phases/wait_for_ip.yml", "-e", "vmid=5000"],
        cwd=ROOT,
        env={**os.environ, "HOSTWRIGHT_STATE_DIR": str(state_dir)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\n  container 5000 has address 192.0.2.7\n" in done.stdout


def test_address_that_never_comes_ends_with_what_was_seen(proxmox: FakeProxmox) -> None:
    state_dir = proxmox.write_site()
    proxmox.pve.add_ct(5000, node="pve1", status="running")
    late = run(state_dir, ("phases/wait_for_ip",), wait_for_ip_timeout=2, wait_for_ip_window=1)
    assert (late.code, late.failure["code"]) == (2, "ip-timeout")
    assert "there is lo 127.0.0.1" in late.failure["msg"]


def test_failed_task_shows_its_own_words_and_no_secret(proxmox: FakeProxmox) -> None:
    state_dir = proxmox.write_site()
    # A server that repeats the token in its answer must not get it into our output.
    text = f"startup failed for token {TOKEN}"
    proxmox.pve.add_ct(5000, node="pve1", config={"tags": f"hw-{OURS}"}).start_error = text
    failed = run(state_dir, ("phases/start_container",), "-vvv", start_container_timeout=5)
    assert (failed.code, failed.failure["code"]) == (2, "proxmox-task-failed")
    assert failed.failure["detail"]["exitstatus"] == "startup failed for token ***"
    assert TOKEN not in failed.output


def test_template_in_a_customers_value_is_never_run(proxmox: FakeProxmox, tmp_path: Path) -> None:
    state_dir, pwned = proxmox.write_site(), tmp_path / "pwned"
    value = f"{{{{ lookup('pipe', 'touch {pwned}') }}}}"
    refused = run(state_dir, ("phases/clone_container",), hostname=unsafe(value))
    assert (refused.code, refused.failure["code"]) == (2, "proxmox-task-failed")
    assert proxmox.pve.ct(5000) is None
    assert not pwned.exists()


@pytest.mark.parametrize(("file", "word"), [("site.json", "the lab is not running"), ("secrets.json", "secrets file")])
def test_missing_lab_files_are_named(proxmox: FakeProxmox, file: str, word: str) -> None:
    state_dir = proxmox.write_site()
    (state_dir / "lab" / file).unlink()
    failed = run(state_dir, ("phases/stop_container",))
    assert failed.code != 0
    assert word in failed.output
    assert str(state_dir / "lab" / file) in failed.output
