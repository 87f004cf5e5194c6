"""What the command line says of how an operation ended."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from orchestrator.cli.client.display import _describe_outcome, instances_table, print_whole
from orchestrator.cli.client.facts import describe_instance

STEP = {"name": "unpublish-edge", "status": "ok", "message": None}


def said(**changes: Any) -> list[str]:
    operation: dict[str, Any] = {
        "operationId": "the-operation", "vmid": 5000, "kind": "provision", "status": "failed", "links": {},
        "error": None,
        "cleanup": {"status": "ok", "steps": [STEP], "leaked": []},
    }  # fmt: skip
    return [line.plain for line in _describe_outcome(operation | changes) if isinstance(line, Text)]


def test_never_says_of_a_kept_machine_that_nothing_is_left() -> None:
    assert said(links={"retry": "/x"}) == [
        "kept for a look: hostwright retry the-operation",
        "or, when you are done: hostwright delete 5000",
    ]


@pytest.mark.parametrize(
    ("kind", "words"), [("provision", "cleaned up: nothing is left"), ("start", "the server is as it was before")]
)
def test_says_what_became_of_what_was_undone(kind: str, words: str) -> None:
    assert said(kind=kind) == [words]


def test_says_what_was_left_behind_and_that_it_is_tried_again() -> None:
    cleanup = {"status": "failed", "steps": [STEP], "leaked": ["container:5000"]}
    assert said(cleanup=cleanup) == ["left behind, tried again by itself: container:5000"]


def test_names_the_operation_that_a_failure_asks_to_tell() -> None:
    error = {"code": "ip-timeout", "phase": "wait-for-ip", "message": "tell your provider the operation's id"}
    told = said(error=error, cleanup=None)
    assert told == ["ip-timeout at wait-for-ip: tell your provider the operation's id", "operation the-operation"]
    assert said(error=error, cleanup=None, status="cancelled") == told[:1]


def test_case_a10_shows_of_one_server_what_a_list_shows() -> None:
    unknown = ("memoryMiB", "cpuCores", "diskGiB", "hostname", "vmid", "customerId", "address", "createdAt", "readyAt")
    instance = dict.fromkeys((*unknown, "proxyStatus", "expiresAt", "activeOperationId", "runtime"))
    instance |= {"serverId": "s", "status": "deleting", "ctype": "game", "variant": "vanilla", "version": "1"}
    instance |= {"leaked": []}
    shown = dict(describe_instance(instance | {"failingSince": "18:00", "nextTryAt": "18:04"}))
    assert (shown["failing since"], shown["next try"]) == ("18:00", "18:04")
    assert "failing since" not in dict(describe_instance(instance))


def listed(width: int, **changes: Any) -> str:
    item: dict[str, Any] = {
        "vmid": None, "serverId": "e902672c-b523-41ee-8124-171cdd3ec000", "hostname": "mc-vanilla-5000",
        "ctype": "game", "variant": "vanilla", "runtime": None, "version": "1.21.7", "status": "failed", "leaked": [],
        "failingSince": None, "nextTryAt": None,
    }  # fmt: skip
    printed = StringIO()
    print_whole(Console(file=printed, width=width), instances_table([item | changes]))
    return printed.getvalue()


@pytest.mark.parametrize("width", [30, 80, 200])
def test_lists_ids_and_names_whole_on_any_terminal(width: int) -> None:
    text = listed(width)
    assert "e902672c-b523-41ee-8124-171cdd3ec000 " in text
    assert "mc-vanilla-5000 " in text
    assert "left behind" not in text


def test_case_a10_lists_since_when_a_deletion_fails_and_when_it_is_tried_next() -> None:
    since, following = "2026-11-30T18:00:00Z", "2026-11-30T18:04:00Z"
    text = listed(80, status="deleting", failingSince=since, nextTryAt=following)
    assert "failing since" in text
    assert since in text
    assert following in text
    assert "left behind" not in text
    assert f"{since}  now" in listed(80, failingSince=since)
    assert "failing since" not in listed(80)


def test_lists_what_was_left_behind() -> None:
    assert "edge:mc-vanilla-5000, container:5000" in listed(80, leaked=["edge:mc-vanilla-5000", "container:5000"])
