"""Whatever fails, fails at its phase with its reason, and nothing of the order is left afterwards."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.fix_stack import Running, running_stack
from tests.support.observe import container, edited, rows
from tests.support.playbook import play

CLEANED = [{"name": name, "status": "ok"} for name in ("unpublish-edge", "stop-container", "delete-container")]


@dataclass(frozen=True)
class Case:
    """What goes wrong, and how the operation shall say so. `words` are the failing part's own."""

    phase: str
    code: str
    words: str
    faults: tuple[dict[str, Any], ...] = ()
    site: dict[str, Any] = field(default_factory=dict)
    detail: str = ""


CASES = {
    "template missing": Case(
        "clone-container",
        "template-missing",
        "template 9999 does not exist on node pve1",
        site={"templates": {"game": 9999}},
    ),
    "proxmox denied": Case(
        "clone-container",
        "proxmox-denied",
        "lacks /vms/9000, VM.Clone",
        ({"target": "proxmox", "method": "POST", "path": "/lxc/9000/clone", "status": 403,
          "message": "Permission check failed (/vms/9000, VM.Clone)"},),
    ),
    "storage full": Case(
        "clone-container",
        "storage-full",
        "unable to create image: No space left on device",
        ({"target": "proxmox", "error": "task", "task": "vzclone",
          "message": "clone failed: unable to create image: No space left on device"},),
    ),
    "task error": Case(
        "start-container",
        "proxmox-task-failed",
        "you can't start a CT if it's a template",
        ({"target": "proxmox", "error": "task", "task": "vzstart",
          "message": "you can't start a CT if it's a template"},),
    ),
    "agent says 422": Case(
        "send-agent-config",
        "agent-rejected",
        "this template has no vanilla",
        ({"target": "agent", "behaviour": "reject", "message": "this template has no vanilla"},),
    ),
    "agent error": Case(
        "wait-for-agent-terminal-state",
        "agent-error",
        "the download broke off at 47 %",
        ({"target": "agent", "behaviour": "error", "message": "the download broke off at 47 %",
          "log": ["GET server.jar", "read: connection reset"]},),
        detail="read: connection reset",
    ),
    "technitium says no": Case(
        "publish-edge",
        "dns-failed",
        "technitium: Access was denied",
        ({"target": "technitium", "path": "/add", "status": "error", "errorMessage": "Access was denied."},),
    ),
    "cloudflare says no": Case(
        "publish-edge",
        "dns-failed",
        "Authentication error (10000)",
        ({"target": "cloudflare", "method": "POST", "httpStatus": 403, "code": 10000,
          "message": "Authentication error"},),
    ),
    "velocity says no": Case(
        "publish-edge",
        "velocity-failed",
        "the proxy is full",
        ({"target": "velocity", "path": "/register", "httpStatus": 507, "message": "the proxy is full"},),
    ),
}  # fmt: skip

SLOW_CASES = {
    "agent hangs": Case(
        "wait-for-agent-terminal-state",
        "agent-timeout",
        "did not become ready in time; the agent's last state was installing",
        ({"target": "agent", "behaviour": "hang"},),
    ),
    "agent dies": Case(
        "wait-for-agent-terminal-state",
        "agent-unreachable",
        "Connection refused); does its service run",
        ({"target": "agent", "behaviour": "die"},),
    ),
    "name server silent": Case(
        "publish-edge",
        "verify-failed",
        "dns cloudflare A",
        ({"target": "dns", "view": "public", "rcode": "SERVFAIL"},),
    ),
}


@pytest.fixture(scope="module")
def impatient() -> Iterator[Running]:
    """A Hostwright whose waiting phases give up after seconds."""
    with pytest.MonkeyPatch.context() as patch:
        timeouts = {"wait-for-agent-terminal-state": 3, "publish-edge": 3, "unpublish-edge": 2}
        patch.setenv("HOSTWRIGHT_PHASE_TIMEOUTS", json.dumps(timeouts))
        with running_stack() as stack:
            yield stack


def fail(stack: Running, case: Case, **order: str) -> dict[str, Any]:
    """One order under these faults; returns the final operation."""
    site = stack.state_dir / "lab" / "site.json"
    with edited(site, **case.site):
        for fault in case.faults:
            stack.lab.fault(**fault)
        client = stack.customer()
        operation = stack.provision(client, {"ctype": "game", "variant": "vanilla", "version": "1.21.7"} | order)
        operation["instance"] = client.request("GET", f"/api/instances/{operation['serverId']}")
        operation["log"] = stack.operator.request("GET", f"{operation['links']['events']}?limit=500")["events"]
    stack.lab.clear_faults()
    return operation


def assert_failed_at(operation: dict[str, Any], case: Case) -> None:
    """Failed at this phase, with this code, in these words; what comes after was never begun."""
    error = operation["error"]
    assert (operation["status"], error["phase"], error["code"]) == ("failed", case.phase, case.code), error
    assert case.words in error["message"]
    assert_sentence(error["message"])
    assert case.detail in json.dumps(error["detail"])
    assert error["message"] in [line["message"] for line in operation["log"] if line["level"] == "error"]
    own = operation["phases"][:10]
    at = [phase["name"] for phase in own].index(case.phase)
    assert [phase["status"] for phase in own] == ["ok"] * at + ["failed"] + ["skipped"] * (9 - at)


def assert_sentence(message: str) -> None:
    """Readable by a person: one line, no program's innards."""
    assert 20 < len(message) < 600
    assert not any(
        sign in message for sign in ("\n", "Traceback", "{'", "<class", "__", "task failed without a reason")
    )


def assert_nothing_left(stack: Running, operation: dict[str, Any], before: dict[str, Any]) -> None:
    """Cleaned up step by step, the VMID free, and the lab as it was."""
    cleanup = operation["cleanup"]
    assert (cleanup["status"], cleanup["leaked"]) == ("ok", []), cleanup
    assert [{"name": step["name"], "status": step["status"]} for step in cleanup["steps"]] == CLEANED
    assert (operation["instance"]["status"], operation["instance"]["vmid"]) == ("failed", None)
    assert rows(stack, "select from instance where vmid = %s", operation["vmid"]) == []
    assert stack.lab.inventory() == before


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_provision_fails_at_its_phase_and_leaves_nothing(stack: Running, case: Case) -> None:
    before = stack.lab.inventory()
    operation = fail(stack, case)
    assert_failed_at(operation, case)
    assert_nothing_left(stack, operation, before)


@pytest.mark.parametrize("case", SLOW_CASES.values(), ids=SLOW_CASES.keys())
def test_provision_gives_up_after_the_phases_time(impatient: Running, case: Case) -> None:
    before = impatient.lab.inventory()
    operation = fail(impatient, case)
    assert_failed_at(operation, case)
    assert_nothing_left(impatient, operation, before)


def test_provision_without_a_bridge_names_what_cleanup_left(impatient: Running) -> None:
    """Nothing listens at the bridge's address: the order fails, and so does the cleanup's word to it."""
    before = impatient.lab.inventory()
    proxy = impatient.lab.site["proxy"]
    gone = proxy["url"].rpartition(":")[0] + ":9"
    case = Case(
        "publish-edge",
        "velocity-failed",
        "Connection refused; is the proxy running",
        site={"proxy": proxy | {"url": gone}},
    )
    operation = fail(impatient, case)
    assert_failed_at(operation, case)
    assert operation["cleanup"]["leaked"] == [f"edge:{operation['hostname']}"]
    assert [step["status"] for step in operation["cleanup"]["steps"]] == ["failed", "ok", "ok"]
    # Records and container are gone all the same.
    assert impatient.lab.inventory() == before


def test_failed_cleanup_names_the_record_it_left_and_a_delete_removes_it(stack: Running) -> None:
    before = stack.lab.inventory()
    denied = {"target": "technitium", "path": "/delete", "status": "error", "errorMessage": "Access was denied."}
    case = CASES["velocity says no"]
    operation = fail(stack, Case(case.phase, case.code, case.words, (*case.faults, denied)))
    assert_failed_at(operation, case)
    unpublish, stop, delete = operation["cleanup"]["steps"]
    assert (unpublish["status"], stop["status"], delete["status"]) == ("failed", "ok", "ok")
    assert "technitium: Access was denied" in unpublish["message"]
    assert operation["cleanup"]["status"] == "failed"
    assert operation["cleanup"]["leaked"] == [f"edge:{operation['hostname']}"]
    assert "left behind" in operation["log"][-1]["message"]
    left = stack.lab.inventory()
    assert {record["view"] for record in left["records"]} == {"internal"}
    assert container(left, operation["vmid"]) is None
    # The name is still taken out there, so the VMID is not given to anybody else.
    assert (operation["instance"]["status"], operation["instance"]["vmid"]) == ("failed", operation["vmid"])
    assert stack.tear_down(stack.operator, operation["serverId"])["status"] == "succeeded"
    assert stack.lab.inventory() == before


def test_case_b7_order_and_deletion_wait_for_a_provider_and_say_so(stack: Running) -> None:
    client = stack.customer()
    limit = {
        "target": "cloudflare",
        "httpStatus": 429,
        "code": 971,
        "message": "Slow down",
        "retryAfter": 4,
        "times": 1,
    }
    stack.lab.fault(method="POST", **limit)
    order = stack.provision(client)
    stack.lab.fault(method="DELETE", **limit)
    deletion = stack.tear_down(client, order["serverId"])
    for operation in (order, deletion):
        assert operation["status"] == "succeeded"
        path = f"/api/instances/operations/{operation['operationId']}/events?limit=500"
        lines = [event["message"] for event in stack.operator.request("GET", path)["events"]]
        told = [line for line in lines if line and line.startswith("waiting: ")]
        assert len(told) == 1, lines
        assert "cloudflare: Slow down (971); it wants to be left alone until" in told[0]


def test_failed_delete_names_the_container_it_left_and_tries_the_rest(stack: Running) -> None:
    before = stack.lab.inventory()
    case = CASES["agent says 422"]
    locked = {
        "target": "proxmox",
        "error": "task",
        "task": "vzdestroy",
        "message": "can't remove CT: protection mode enabled",
    }
    operation = fail(stack, Case(case.phase, case.code, case.words, (*case.faults, locked)))
    assert_failed_at(operation, case)
    steps = operation["cleanup"]["steps"]
    assert [step["status"] for step in steps] == ["ok", "ok", "failed"]
    assert "can't remove CT: protection mode enabled" in steps[2]["message"]
    assert operation["cleanup"]["leaked"] == [f"container:{operation['vmid']}"]
    left = container(stack.lab.inventory(), operation["vmid"])
    assert left is not None
    assert left["status"] == "stopped"
    assert stack.tear_down(stack.operator, operation["serverId"])["status"] == "succeeded"
    assert stack.lab.inventory() == before


def test_teardown_fails_with_its_reason_and_goes_on_when_asked_again(stack: Running) -> None:
    before = stack.lab.inventory()
    client = stack.customer()
    server = stack.provision(client)["serverId"]
    stack.lab.fault(target="cloudflare", method="DELETE", httpStatus=403, code=10000, message="Authentication error")
    operation = stack.tear_down(client, server)
    assert (operation["status"], operation["error"]["code"]) == ("failed", "dns-failed")
    assert "Authentication error (10000)" in operation["error"]["message"]
    assert [phase["status"] for phase in operation["phases"]] == ["failed", "skipped", "skipped", "skipped"]
    # The server is still there, and still the customer's.
    assert client.request("GET", f"/api/instances/{server}")["vmid"] == operation["vmid"]
    stack.lab.clear_faults()
    assert stack.tear_down(client, server)["status"] == "succeeded"
    assert stack.lab.inventory() == before


def test_failed_machine_is_kept_off_the_edge_when_the_order_says_so(stack: Running) -> None:
    before = stack.lab.inventory()
    case = CASES["velocity says no"]
    operation = fail(stack, case, onFailure="keep")
    assert_failed_at(operation, case)
    assert [step["name"] for step in operation["cleanup"]["steps"]] == ["unpublish-edge"]
    assert operation["cleanup"]["status"] == "ok"
    left = stack.lab.inventory()
    kept = container(left, operation["vmid"])
    assert kept is not None
    assert kept["status"] == "running"
    assert (left["records"], left["registrations"]) == (before["records"], before["registrations"])
    assert operation["instance"]["vmid"] == operation["vmid"]
    assert stack.tear_down(stack.operator, operation["serverId"])["status"] == "succeeded"
    assert stack.lab.inventory() == before


def test_teardown_ends_when_somebody_elses_machine_has_our_vmid(stack: Running) -> None:
    client = stack.customer()
    before = stack.lab.inventory()
    operation = stack.provision(client)
    vmid, server_id = operation["vmid"], operation["serverId"]
    order = {"vmid": vmid, "server_id": server_id}
    assert play(["phases/stop_container", "phases/delete_container"], stack.state_dir, order).code == 0
    stack.lab.place_foreign(vmid, "somebody-elses")
    teardown = stack.tear_down(client, server_id)
    assert teardown["status"] == "succeeded", teardown["error"]
    after = stack.lab.inventory()
    assert [found["hostname"] for found in after["containers"] if found["vmid"] == vmid] == ["somebody-elses"]
    assert (after["records"], after["registrations"]) == (before["records"], before["registrations"])
