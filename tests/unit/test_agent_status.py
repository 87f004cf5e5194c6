"""What an agent's answers mean."""

from typing import Any

import pytest

from orchestrator.drivers.agent.status import CRASHES_TOLERATED, LOG_LINE_LENGTH, LOG_LINES, holds, judge, log_tail

VMID = 5000
PAYLOAD = {"vmid": VMID, "container_type": "game", "variant": "vanilla", "memory_mb": 2048, "env": {"A": "b"}}


def status(state: str, **members: Any) -> dict[str, Any]:
    return {"state": state, "ready": False, "config": dict(PAYLOAD), "crashCount": 0} | members


def test_judge_running_and_ready_is_done() -> None:
    verdict = judge(status("running", ready=True), VMID)
    assert (verdict.done, verdict.failed, verdict.code) == (True, False, None)


@pytest.mark.parametrize(
    "seen",
    [
        status("running"),
        status("running", ready="yes"),
        status("installing", ready=True),
        status("stopped", ready=True),
        {},
    ],
    ids=["not ready", "ready is no boolean", "installing", "stopped", "empty"],
)
def test_judge_anything_short_of_running_and_ready_waits(seen: dict[str, Any]) -> None:
    verdict = judge(seen, VMID)
    assert (verdict.done, verdict.failed, verdict.code) == (False, False, "agent-timeout")


def test_pain_1_judge_error_fails_at_once_with_the_agents_words_and_log_tail() -> None:
    lines = [f"line {number}" for number in range(50)]
    seen = status("error", error="installation failed:\nNo space left on device", lastCrashLogTail=lines)
    verdict = judge(seen, VMID)
    assert verdict.failed
    assert verdict.code == "agent-error"
    assert verdict.message == "installation failed: No space left on device"
    assert verdict.detail["logTail"] == lines[-LOG_LINES:]


def test_judge_error_without_words_still_says_something() -> None:
    assert "error" in judge(status("error"), VMID).message


def test_judge_crashed_may_recover_but_not_for_ever() -> None:
    recovering = judge(status("crashed", crashCount=CRASHES_TOLERATED), VMID)
    assert not recovering.done
    lost = judge(status("crashed", crashCount=CRASHES_TOLERATED + 1, readyError="exited with code 1"), VMID)
    assert (lost.failed, lost.code) == (True, "agent-error")
    assert "exited with code 1" in lost.message


def test_judge_unknown_state_waits_and_names_it() -> None:
    verdict = judge(status("defragmenting", installStep="moving chunks"), VMID)
    assert not verdict.done
    assert verdict.progress == "defragmenting: moving chunks"
    assert "defragmenting" in verdict.message


@pytest.mark.parametrize("state", ["running", "error"])
def test_judge_state_of_another_container_is_not_ours(state: str) -> None:
    seen = status(state, ready=True, error="old", config={"vmid": 9000})
    verdict = judge(seen, VMID)
    assert not verdict.done
    assert "9000" in verdict.message


def test_judge_without_a_configuration_in_the_status_believes_the_state() -> None:
    assert judge({"state": "running", "ready": True}, VMID).done


def test_log_tail_is_bounded_and_takes_text() -> None:
    assert log_tail({"lastCrashLogTail": "a\nb"}) == ["a", "b"]
    assert log_tail({"lastCrashLogTail": ["x" * 5000]}) == ["x" * LOG_LINE_LENGTH]
    assert log_tail({}) == []


@pytest.mark.parametrize("state", ["installing", "starting", "running", "crashed", "stopped", "new"])
def test_holds_the_same_configuration_in_any_live_state(state: str) -> None:
    assert holds(status(state), PAYLOAD)


@pytest.mark.parametrize("state", ["idle", "error"])
def test_holds_is_false_when_the_agent_does_nothing_with_it(state: str) -> None:
    assert not holds(status(state), PAYLOAD)


@pytest.mark.parametrize(
    "config",
    [
        None,
        {},
        {**PAYLOAD, "vmid": 9000},
        {**PAYLOAD, "memory_mb": 4096},
        {**PAYLOAD, "env": {}},
    ],
    ids=["none", "empty", "other vmid", "other memory", "other env"],
)
def test_holds_is_false_for_another_configuration(config: Any) -> None:
    assert not holds(status("running", config=config), PAYLOAD)


def test_holds_ignores_what_an_agent_drops_adds_or_gets_anew() -> None:
    kept = {"vmid": str(VMID), "container_type": "game", "world": "added", "variant": None}
    assert not holds(status("running", config={**kept, "variant": "paper"}), PAYLOAD)
    assert holds(status("running", config={**kept, "callback_url": "old"}), PAYLOAD | {"callback_url": "new"})


ODD_VALUES: list[Any] = [[[["x"]]], {"a": {}}, "y" * 100_000, 10**4000, -1, True, None, 1.5, "\ud800\0"]


@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda value: str(value)[:9].encode("ascii", "replace").decode())
@pytest.mark.parametrize("member", ["state", "installStep", "error", "crashCount", "lastCrashLogTail", "config"])
@pytest.mark.parametrize("state", ["error", "crashed", "running", "installing"])
def test_case_b10_judge_says_little_of_an_odd_status(state: str, member: str, value: Any) -> None:
    verdict = judge(status(state) | {member: value}, VMID)
    assert len(verdict.message) < 1000
    assert len(str(verdict.detail)) < LOG_LINES * LOG_LINE_LENGTH + 1000


def test_case_b10_judge_names_another_vmid_in_few_words() -> None:
    assert len(judge(status("running", config={"vmid": "7" * 100_000}), VMID).message) < 1000
