"""What a customer writes is refused by name or carried literally; it is never run, and a refusal makes nothing."""

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from orchestrator.cli.client.api import Client
from orchestrator.settings import PROJECT_DIR
from tests.support.fix_stack import DEV, GAME, Running
from tests.support.observe import agent_status, files_below, processes, rows

MARK = f"pwned-{uuid4().hex}"
"""Only a value that was run leaves a file of this name."""

LITERAL = {
    "template": f"{{{{ lookup('pipe','touch {MARK}') }}}}",
    "statement": f"{{% set x = lookup('pipe', 'touch {MARK}') %}}{{{{ x }}}}",
    "shell": f"$(touch {MARK}) `touch {MARK}` ; touch {MARK} | touch {MARK} && touch {MARK}",
    "sql": f"'; drop table instance; -- {MARK}",
    "quotes": "\"'`\\\" \\' \\\\ \\n \\x00 %s {0} ${HOME}",
    "yaml": "!unsafe !!python/object/apply:os.system [&a *a] # - :",
    "unicode": "Grüße 🎮 日本語 ‮abc\u200b ﷽",
    "path": "../../../../etc/passwd",
    "empty": "",
    "longest": "x" * 1024,
}
"""What an environment value may be, as it stands."""

UNPRINTABLE = {
    "newline": f"a\ntouch {MARK}",
    "carriage return": "a\rb",
    "nul": "a\0b",
    "escape": "a\x1b[2Jb",
    "line separator": "a\u2028b",
    "lone surrogate": "a\ud800b",
    "10,000 characters": "x" * 10_000,
}
HOSTILE = {name: value for name, value in (LITERAL | UNPRINTABLE).items() if name not in ("empty", "longest")}
NOT_TEXT = {"number": 1, "list": ["vanilla"], "object": {"__ansible_unsafe": "vanilla"}, "true": True, "nothing": None}

FIELDS: dict[str, dict[str, Any]] = {
    "game": GAME,
    "variant": GAME,
    "version": GAME,
    "world": GAME,
    "runtime": DEV,
    "ctype": GAME,
    "containerType": {"variant": "vanilla", "version": "1.21.7"},
    "onFailure": GAME,
    "memoryMiB": GAME,
    "cpuCores": GAME,
    "diskGiB": DEV,
    "enableCodeServer": DEV,
    "env": GAME,
}


def counted(stack: Running) -> list[tuple[Any, ...]]:
    """How much there is of everything an order makes."""
    return rows(
        stack,
        "select (select count(*) from instance), (select count(*) from operation),"
        " (select count(*) from idempotency_key), (select count(*) from huey_task), (select count(*) from customer)",
    )


def assert_nothing_was_run(stack: Running) -> None:
    """Looks where a command could have left its file: every working directory, the state, temporary directories."""
    places = {
        PROJECT_DIR,
        stack.state_dir,
        Path("/dev/shm"),
        Path.home(),
        Path.cwd(),
        Path("/"),
        Path(tempfile.gettempdir()),
    }
    names = [path for path in files_below(PROJECT_DIR, stack.state_dir, Path("/dev/shm")) if MARK in path.name]
    for place in places:
        names += [Path(entry) for entry in os.scandir(place) if MARK in entry.name]
    for process in processes(stack):
        # Through /proc, because a container's path means something else out here; a process may have ended by now.
        with suppress(FileNotFoundError, ProcessLookupError):
            names += [Path(entry) for entry in os.scandir(f"/proc/{process.pid}/cwd") if MARK in entry.name]
    assert names == []


def send(stack: Running, client: Client, body: dict[str, Any], **headers: str) -> httpx.Response:
    """An order in plain ASCII JSON, where a lone surrogate can be written too."""
    return httpx.post(
        f"{stack.url}/api/instances",
        content=json.dumps(body),
        headers={"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"} | headers,
        trust_env=False,
    )


def pointers(answer: httpx.Response) -> list[str]:
    return [error.get("pointer") or error["parameter"] for error in answer.json()["errors"]]


@pytest.mark.parametrize("name", FIELDS)
def test_order_with_a_hostile_field_is_refused_by_its_name(stack: Running, name: str) -> None:
    client = stack.customer()
    before = counted(stack)
    for what, value in (HOSTILE | NOT_TEXT).items():
        if (name, what) in ACCEPTED:
            continue
        answer = send(stack, client, FIELDS[name] | {name: value})
        assert answer.status_code == 400, (name, what, answer.text)
        assert answer.json()["code"] == "invalid-request"
        assert f"/{name}" in pointers(answer), (name, what, answer.text)
        assert len(answer.content) < 2000
    assert counted(stack) == before
    assert_nothing_was_run(stack)


ACCEPTED = {
    ("memoryMiB", "nothing"),
    ("cpuCores", "nothing"),
    ("diskGiB", "nothing"),
    ("enableCodeServer", "true"),
    ("cpuCores", "number"),
    ("env", "object"),
}
"""These are what the field is for."""


def test_order_with_hostile_names_is_refused(stack: Running) -> None:
    client = stack.customer()
    before = counted(stack)
    for what, text in (HOSTILE | {"field of ours": "vmid", "ansible": "hostwright_secrets_file", "empty": ""}).items():
        answer = send(stack, client, GAME | {text: "x"})
        assert answer.status_code == 400, (what, answer.text)
        # A lone surrogate cannot be repeated in an answer, so there the body as a whole is named.
        assert "is not a field of this order" in answer.text or what == "lone surrogate", (what, answer.text)
        answer = send(stack, client, GAME | {"env": {text: "x"}})
        assert answer.status_code == 400, (what, answer.text)
        assert pointers(answer)[0].startswith("/env/"), (what, answer.text)
    for what, text in UNPRINTABLE.items():
        answer = send(stack, client, GAME | {"env": {"MOTD": text}})
        assert (answer.status_code, pointers(answer)) == (400, ["/env/MOTD"]), (what, answer.text)
    assert counted(stack) == before
    assert_nothing_was_run(stack)


def test_order_for_a_hostile_customer_is_refused(stack: Running) -> None:
    client = stack.customer()
    before = counted(stack)
    for value in HOSTILE.values():
        answer = send(stack, client, GAME | {"customerId": value})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), answer.text
        assert MARK not in answer.text
    for what, value in (HOSTILE | {"unknown": "nobody-knows-this-one", "trailing": "demo\n"}).items():
        answer = send(stack, stack.operator, GAME | {"customerId": value})
        assert (answer.status_code, pointers(answer)) == (400, ["/customerId"]), (what, answer.text)
    assert counted(stack) == before


def test_order_with_a_hostile_key_is_refused(stack: Running) -> None:
    client = stack.customer()
    before = counted(stack)
    texts = ["", '""', '"', '"a', 'a"b', "a b", "a\tb", LITERAL["template"], "x" * 256, "x" * 10_000, "schlüssel"]
    for key in [text.encode() for text in texts] + [b"\xff\xfe"]:
        answer = httpx.post(
            f"{stack.url}/api/instances",
            json=GAME,
            headers=[(b"Authorization", b"Bearer " + client.token.encode()), (b"Idempotency-Key", key)],
            trust_env=False,
        )
        assert (answer.status_code, pointers(answer)) == (400, ["Idempotency-Key"]), (key, answer.text)
    assert counted(stack) == before


@pytest.mark.parametrize("path", ["instances/{}", "instances/operations/{}", "instances/operations/{}/events"])
def test_request_for_a_hostile_id_is_not_found(stack: Running, path: str) -> None:
    client = stack.customer()
    before = counted(stack)
    for text in (MARK, "'--", "%7B%7B7*7%7D%7D", "%00", "%0a", "..%2f..", "5000'", "%F0%9F%8E%AE", "9" * 100):
        for method in ("GET", "DELETE") if path == "instances/{}" else ("GET",):
            answer = httpx.request(
                method,
                f"{stack.url}/api/{path.format(text)}",
                headers={"Authorization": f"Bearer {client.token}"},
                trust_env=False,
            )
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), (text, answer.text)
    assert counted(stack) == before


def test_values_are_carried_to_the_agent_as_they_stand(stack: Running) -> None:
    """Key, world, and every environment value that may be ordered, through queue, Ansible and HTTP to the agent."""
    client = stack.customer()
    env = {f"V_{name.upper()}": value for name, value in LITERAL.items()}
    order = GAME | {"env": env, "world": "my world_1.2-x"}
    key = f"{{{{lookup('pipe','touch${{IFS}}{MARK}')}}}}';--$(touch<{MARK})"
    answer = send(stack, client, order, **{"Idempotency-Key": key})
    assert answer.status_code == 202, answer.text
    operation = stack.finish(client, answer.json()["operationId"])
    assert operation["status"] == "succeeded", operation["error"]
    config = agent_status(stack.lab, operation["vmid"])["config"]
    assert config["env"] == env
    assert config["world"] == order["world"]
    assert rows(stack, "select key from idempotency_key where operation_id = %s", operation["operationId"]) == [(key,)]
    assert _environment_of_the_game(stack, operation["vmid"]).items() >= env.items()
    assert_nothing_was_run(stack)
    assert send(stack, client, order, **{"Idempotency-Key": key}).json()["operationId"] == operation["operationId"]
    assert stack.tear_down(client, operation["serverId"])["status"] == "succeeded"
    assert_nothing_was_run(stack)


@pytest.mark.parametrize("behaviour", ["reject", "error"])
def test_words_of_an_agent_are_never_run(stack: Running, behaviour: str) -> None:
    """An agent runs what a customer uploads: its words are as foreign as the customer's."""
    before = stack.lab.inventory()
    words = f"{LITERAL['template']} {LITERAL['sql']} $(touch {MARK})"
    stack.lab.fault(target="agent", behaviour=behaviour, message=words, log=[LITERAL["template"], LITERAL["unicode"]])
    operation = stack.provision(stack.customer())
    assert operation["status"] == "failed"
    assert words in operation["error"]["message"]
    if behaviour == "error":
        assert operation["error"]["detail"]["logTail"] == [LITERAL["template"], LITERAL["unicode"]]
    assert_nothing_was_run(stack)
    assert stack.lab.inventory() == before


def _environment_of_the_game(stack: Running, vmid: int) -> dict[str, str]:
    """What the game server's own process was given."""
    agent = next(one["pid"] for one in stack.lab.inventory()["processes"] if one["vmid"] == vmid)
    (game,) = psutil.Process(agent).children()
    return game.environ()


def test_client_of_another_customer_is_told_nothing(stack: Running) -> None:
    """A refusal repeats neither the value nor what the database or Ansible would say of it."""
    answer = send(stack, Client(stack.url, f"hw_{LITERAL['sql']}"), GAME)
    assert answer.status_code == 401
    assert MARK not in answer.text
