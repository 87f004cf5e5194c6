"""What events mean, read from recorded streams (tests/fixtures/events) and from hostile ones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.errors import Code
from orchestrator.domain.models import Failure
from orchestrator.domain.operations import PROVISION
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.domain.updates import (
    CloneBegun,
    Logged,
    PhaseEntered,
    PublicationsRecorded,
    PublicationsStruck,
    Retried,
    Update,
)
from orchestrator.play.events import AddressSeen, Heard, phase_of, to_updates

FOLDER = Path(__file__).parents[1] / "fixtures" / "events"
STREAMS = ["success_game", "success_dev", "agent_error", "agent_timeout", "locked_clone", "dns_failure", "no_playbook"]
BUILT = [
    "enter clone-container: cloning the template",
    "clone UPID: container VMID is being cloned from 9000",
    "log clone-container info: container VMID cloned from 9000",
    "enter configure-container: setting memory, cores and network",
    "log configure-container info: container VMID configured (cores, memory, tags)",
    "enter start-container: starting the container",
    "log start-container info: container VMID started",
    "enter wait-for-ip: waiting for an address",
    "address ADDRESS",
    "enter build-agent-payload: building the agent's configuration",
    "enter send-agent-config: sending the configuration to the agent",
    "log send-agent-config info: the agent took the configuration and is installing",
    "enter wait-for-agent-terminal-state: the agent installs and starts",
]
READY = "log wait-for-agent-terminal-state info: running and ready"
PUBLISHING = "enter publish-edge: publishing DNS and proxy, then joining as a player would"


def events(stream: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / f"{stream}.jsonl").read_text(encoding="utf-8").splitlines()]


def updates(stream: str) -> list[Update | AddressSeen | Failure]:
    return [update for event in events(stream) for update in to_updates(event)]


def spell(update: Update | AddressSeen | Failure) -> str:
    """An update as a line, without what another recording would have otherwise."""
    match update:
        case PhaseEntered(phase, message):
            text = f"enter {phase}: {message}"
        case Logged(phase, level, message):
            text = f"log {phase} {level}: {message}"
        case Retried(phase, retries):
            text = f"retry {phase} {retries}"
        case CloneBegun(upid, message):
            text = f"clone {upid.split(':')[0]}: {message}"
        case AddressSeen(address):
            text = f"address {address}"
        case Failure():
            text = f"fail {update.phase} {update.code}"
    for volatile, name in ((r"127\.[\d.]+", "ADDRESS"), (r"\b50\d\d\b", "VMID"), (r"[\d.]+ ms", "MS")):
        text = re.sub(volatile, name, text)
    return text


def failed(phase: Phase = Phase.CLONE_CONTAINER, **data: Any) -> Any:
    return next(
        iter(to_updates({"event": "runner_on_failed", "event_data": {"play": str(phase), "task": "T", **data}})), None
    )


def progress(text: str) -> Any:
    event = {"event": "runner_on_ok", "event_data": {"play": "clone-container", "res": {"progress": text}}}
    return next(iter(to_updates(event)), None)


# publications

RECORD = {"driver": "technitium", "place": "internal/lab", "type": "A", "name": "mc.lab", "value": "192.0.2.1"}


def test_hears_what_is_about_to_be_published_and_what_is_published_no_longer() -> None:
    record = Publication(**RECORD)
    told = {"event": "runner_on_ok", "event_data": {"play": "publish-edge", "res": {"publishing": [RECORD]}}}
    assert to_updates(told) == [PublicationsRecorded((record,))]
    res = {"withdrawn": [RECORD], "msg": "the proxy is away", "code": "velocity-failed"}
    for name in ("runner_on_failed", "runner_on_unreachable"):
        updates = to_updates({"event": name, "event_data": {"play": "unpublish-edge", "task": "T", "res": res}})
        assert updates[0] == PublicationsStruck((record,))
        assert isinstance(updates[1], Failure)


@pytest.mark.parametrize(
    "broken", [None, "x", [], ["x"], [{}], [{"name": "mc.lab"}], [RECORD | {"value": 5}], [RECORD | {"value": ["x"]}]]
)
def test_passes_over_publications_that_are_none(broken: Any) -> None:
    event = {"event": "runner_on_ok", "event_data": {"play": "publish-edge", "res": {"publishing": broken}}}
    assert to_updates(event) == []


# recorded streams


def test_reads_every_step_of_a_game_server() -> None:
    assert [spell(update) for update in updates("success_game")] == [
        *BUILT,
        READY,
        PUBLISHING,
        "log publish-edge info: recorded-VMID published: technitium changed, cloudflare changed",
        "log publish-edge info: recorded-VMID registered: ADDRESS:25565",
        "log publish-edge info: recorded-VMID answers its players: 1.21.7, 0/20, MS",
    ]


def test_reads_every_step_of_a_dev_container() -> None:
    configured = "log configure-container info: container VMID configured (cores, memory, net0, tags)"
    built = [configured if line.startswith("log configure") else line for line in BUILT]
    assert [spell(update) for update in updates("success_dev")] == [*built, READY, PUBLISHING]


def test_enters_every_played_phase_once_in_order() -> None:
    for stream in ("success_game", "success_dev"):
        entered = [update.phase for update in updates(stream) if isinstance(update, PhaseEntered)]
        assert entered == list(PROVISION.played)


def test_reads_why_the_agent_failed() -> None:
    *before, failure = updates("agent_error")
    assert [spell(update) for update in before] == BUILT
    assert isinstance(failure, Failure)
    assert failure.code is Code.AGENT_ERROR
    assert failure.phase == "wait-for-agent-terminal-state"
    assert failure.task == "Wait until the instance is ready"
    assert failure.message == "the server exited with 1"
    assert failure.detail is not None
    assert failure.detail["logTail"][-1] == "Failed to start: out of memory"


def test_counts_the_retries_of_a_waiting_phase() -> None:
    spelled = [spell(update) for update in updates("agent_timeout")]
    assert spelled == [
        *BUILT,
        "retry wait-for-agent-terminal-state 1",
        "retry wait-for-agent-terminal-state 2",
        "fail wait-for-agent-terminal-state agent-timeout",
    ]


def test_reads_why_a_clone_failed() -> None:
    entered, failure = updates("locked_clone")
    assert spell(entered) == BUILT[0]
    assert isinstance(failure, Failure)
    assert (failure.code, failure.phase, failure.task) == (Code.CLONE_LOCKED, "clone-container", "Clone the template")
    assert "CT is locked (disk)" in failure.message
    assert failure.detail == {"http_status": 500, "proxmox": "CT is locked (disk)"}


def test_reads_which_provider_refused() -> None:
    *before, failure = updates("dns_failure")
    assert [spell(update) for update in before] == [*BUILT, READY, PUBLISHING]
    assert isinstance(failure, Failure)
    assert (failure.code, failure.phase) == (Code.DNS_FAILED, "publish-edge")
    assert "The zone is read-only" in failure.message


def test_keys_the_phase_on_the_play_when_a_nested_role_runs() -> None:
    for event in events("success_game"):
        data = event.get("event_data", {})
        if "role" in data:
            nested = event | {"event_data": data | {"role": "publish_edge"}}
            assert phase_of(nested) is phase_of(event)
            assert to_updates(nested) == to_updates(event)


def test_ignores_verbose_events_without_data() -> None:
    told = events("no_playbook")
    assert {event["event"] for event in told} == {"verbose"}
    assert all("event_data" not in event for event in told)
    assert [to_updates(event) for event in told] == [[]] * len(told)


@pytest.mark.parametrize("stream", STREAMS)
def test_ignores_plays_it_does_not_know(stream: str) -> None:
    for event in events(stream):
        if "event_data" in event:
            assert to_updates(event | {"event_data": event["event_data"] | {"play": "a-play-of-somebody"}}) == []


@pytest.mark.parametrize("stream", STREAMS)
def test_recording_holds_nothing_of_one_machine(stream: str) -> None:
    text = (FOLDER / f"{stream}.jsonl").read_text(encoding="utf-8")
    assert not re.search(r'"pid": (?!1\b)', text)
    places = set(re.findall(r'"(/[^"\s:]*)', text))
    assert all(place.startswith(("/hostwright/", "/state", "/venv", "/vanilla/")) for place in places), places


# failures


def test_does_not_take_an_ignored_failure_for_one() -> None:
    assert failed(res={"msg": "no"}, ignore_errors=True) is None
    assert failed(res={"msg": "no"}, ignore_errors=None) is not None


def test_takes_an_unreachable_host_for_a_failure() -> None:
    event = {"event": "runner_on_unreachable", "event_data": {"play": "wait-for-ip", "res": {"msg": "no route"}}}
    assert to_updates(event) == [Failure(code=Code.INTERNAL, phase="wait-for-ip", message="no route")]


@pytest.mark.parametrize("code", ["no-such-code", None, 7, ["agent-error"], {"a": 1}])
def test_calls_a_failure_internal_when_its_code_is_unknown(code: object) -> None:
    assert failed(res={"msg": "no", "code": code}).code is Code.INTERNAL


@pytest.mark.parametrize("message", [None, "", "\n\t", "\0", 7, ["a"]])
def test_says_so_when_a_failure_has_no_reason(message: object) -> None:
    assert failed(res={"msg": message}).message == "the task failed without a reason"


@pytest.mark.parametrize("res", [None, "censored", [], 3])
def test_survives_a_failure_without_a_result(res: object) -> None:
    assert failed(res=res) == Failure(
        code=Code.INTERNAL, phase="clone-container", task="T", message="the task failed without a reason"
    )


def test_truncates_a_detail_that_is_too_large() -> None:
    detail = failed(res={"msg": "no", "detail": {"log": ["x" * 1000] * 20}}).detail
    assert detail is not None
    assert list(detail) == ["truncated"]
    assert len(detail["truncated"]) == 8000
    assert detail["truncated"].startswith('{"log": ["xxx')


def test_keeps_a_detail_that_fits() -> None:
    given = {"state": "error", "log": ["a", "b"], "crashes": 2, "ratio": 0.5, "step": None, "late": True}
    assert failed(res={"detail": given}).detail == given


def test_cleans_a_detail_of_what_the_database_cannot_hold() -> None:
    given = {"nul\0": "a\0b", "surrogate": "\ud800", "nan": float("nan"), "list": [float("inf"), "\0"]}
    assert failed(res={"detail": given}).detail == {"nul": "ab", "surrogate": "?", "nan": "nan", "list": ["inf", ""]}


def test_bounds_the_depth_of_a_detail() -> None:
    deep: Any = "end"
    for _ in range(5000):
        deep = {"in": deep}
    assert "…" in json.dumps(failed(res={"detail": deep}).detail, ensure_ascii=False)


# texts


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines\r\nand\ttabs", "two lines and tabs"),
        ("  spaces   around ", "spaces around"),
        ("a\0b", "a b"),
        ("red \x1b[31malert\x07", "red [31malert"),
        ("line\u2028separator\u0085next", "line separator next"),
        ("half a \ud83d pair", "half a pair"),
        ("über 日本 🎮", "über 日本 🎮"),
    ],
)
def test_makes_one_line_of_a_hostile_text(text: str, line: str) -> None:
    assert progress(text) == Logged(Phase.CLONE_CONTAINER, "info", line)
    assert failed(res={"msg": text}).message == line
    assert failed(task=text).task == line


def test_bounds_a_text_of_ten_thousand_characters() -> None:
    line = progress("x" * 10_000).message
    assert line == "x" * 1999 + "…"
    assert len(failed(res={"msg": "x" * 10_000}).message) == 2000
    assert len(failed(task="x" * 10_000).task) == 2000


def test_logs_nothing_when_progress_has_nothing_to_show() -> None:
    assert progress("") is None
    assert progress(" \0\n") is None


# addresses and retries


@pytest.mark.parametrize("address", ["", "not an address", "127.0.0.1; drop table", "fe80::1%eth0", 7, None])
def test_takes_no_address_from_a_bad_one(address: object) -> None:
    event = {"event": "runner_on_ok", "event_data": {"play": "wait-for-ip", "res": {"address": address}}}
    assert to_updates(event) == []


def test_takes_an_address_only_from_its_phase() -> None:
    for phase in Phase:
        event = {"event": "runner_on_ok", "event_data": {"play": str(phase), "res": {"address": "2001:db8::1"}}}
        assert to_updates(event) == ([AddressSeen("2001:db8::1")] if phase is Phase.WAIT_FOR_IP else [])


@pytest.mark.parametrize(("attempts", "retries"), [(3, 3), (0, 1), (-1, 1), (2**31, 1), ("2", 1), (None, 1), (True, 1)])
def test_counts_a_retry_that_says_no_number_as_the_first(attempts: object, retries: int) -> None:
    event = {"event": "runner_retry", "event_data": {"play": "wait-for-ip", "res": {"attempts": attempts}}}
    assert to_updates(event) == [Retried(Phase.WAIT_FOR_IP, retries)]


def test_case_b7_log_says_what_a_phase_waits_for() -> None:
    result = {"attempts": 1, "notice": "waiting: cloudflare:\nslow down", "progress": "not for the log"}
    event = {"event": "runner_retry", "event_data": {"play": "publish-edge", "res": result}}
    line = Logged(Phase.PUBLISH_EDGE, "info", "waiting: cloudflare: slow down")
    assert to_updates(event) == [Retried(Phase.PUBLISH_EDGE, 1), line]


# anything at all

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    ["playbook_on_play_start", "runner_retry", "runner_on_ok", "runner_on_failed", "runner_on_unreachable", "verbose"]
)
results = json_values | st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(["msg", "code", "detail", "progress", "notice", "address", "attempts"], json_values),
)
event_data = json_values | st.fixed_dictionaries(
    {"play": st.sampled_from([str(phase) for phase in Phase]) | json_values},
    optional={"res": results, "task": json_values, "ignore_errors": json_values},
)
any_event = st.dictionaries(st.text(max_size=8), json_values, max_size=4) | st.fixed_dictionaries(
    {"event": names | json_values}, optional={"event_data": event_data}
)


@given(any_event)
def test_never_raises_and_stays_storable_on_any_event(event: dict[str, Any]) -> None:
    for update in to_updates(event):
        check_storable(update)


def check_storable(update: object) -> None:
    if isinstance(update, Failure):
        texts = [update.message, update.task or "", json.dumps(update.detail, allow_nan=False)]
        assert "\\u0000" not in re.sub(r"\\\\", "", texts[2])
        assert len(texts[2]) <= 3 * 8000
    elif isinstance(update, Logged | PhaseEntered):
        texts = [update.message]
    else:
        return
    for text in texts:
        assert text.isprintable()
    assert all(len(text) <= 2000 for text in texts[:2])


# what a run shows of itself


def hear(*events: dict[str, Any]) -> Heard:
    heard = Heard()
    for event in events:
        heard.hear(event)
    return heard


def begun(play: str) -> dict[str, Any]:
    return {"event": "playbook_on_play_start", "event_data": {"play": play}}


def task(play: str, end: str | None = "runner_on_ok", uuid: str = "t") -> list[dict[str, Any]]:
    """The events of a task. Without an end it is lost what became of it."""
    data = {"play": play, "task_uuid": f"{play}-{uuid}"}
    names = ["playbook_on_task_start", *([end] if end else [])]
    return [{"event": name, "event_data": data} for name in names]


def whole(play: str) -> list[dict[str, Any]]:
    return [begun(play), *task(play)]


STATS: dict[str, Any] = {"event": "playbook_on_stats"}


def test_finds_no_fault_when_every_play_and_the_end_were_seen() -> None:
    heard = hear(*whole("a"), begun("b"), *task("b", "runner_on_skipped"), STATS)
    assert heard.find_fault(["a", "b"], successful=True) is None


@pytest.mark.parametrize(
    ("events", "unseen"),
    [
        ([], "a, b"),
        ([*whole("a"), STATS], "b"),
        ([*whole("a"), *whole("b")], "the end"),
        ([*whole("a"), begun("b"), STATS], "b"),
        ([*whole("a"), begun("b"), *task("b", None), STATS], "b"),
        ([*whole("a"), *whole("b"), *task("b", None, "u"), STATS], "b"),
        ([*whole("a"), *task("a", None, "u"), *whole("b"), STATS], "a"),
    ],
    ids=["nothing", "no play", "no end", "no task", "a task without end", "the last task", "a task of another play"],
)
def test_case_a14_finds_what_was_not_seen(events: list[dict[str, Any]], unseen: str) -> None:
    fault = hear(*events).find_fault(["a", "b"], successful=True)
    assert fault is not None
    assert fault.endswith(f"nothing was seen of {unseen}")


def test_case_a15_quotes_what_was_printed_before_the_first_play() -> None:
    printed = {"event": "verbose", "stdout": "\x1b[1;31mERROR: no such\x1b[0m"}
    rest = {"event": "verbose", "stdout": "  locale"}
    fault = hear(printed, rest).find_fault(["a"], successful=False)
    assert fault == "ansible-playbook ended before its first play: ERROR: no such locale"
    assert str(hear().find_fault(["a"], successful=False)).endswith("it printed nothing")
    assert hear(printed, begun("a")).find_fault(["a"], successful=False) is None


def test_case_a15_quotes_the_end_of_what_was_printed() -> None:
    early = [{"event": "verbose", "stdout": f"[WARNING]: {number}"} for number in range(50)]
    heard = hear(*early, begun("a"), {"event": "verbose", "stdout": "ERROR! no such role"})
    assert heard.quote().startswith("[WARNING]: 31 ")
    assert heard.quote().endswith("[WARNING]: 49 ERROR! no such role")


def test_case_a19_refuses_an_event_whose_data_did_not_arrive() -> None:
    with pytest.raises(OSError, match="did not arrive"):
        hear({"uuid": "x", "counter": 1, "stdout": "TASK"})
