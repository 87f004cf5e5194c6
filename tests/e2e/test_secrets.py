"""Planted secrets are nowhere but in their own files: not in rows, files, processes, run directories or answers.

The lab's services are told to repeat the secret they were given in their refusals, as careless ones do.
"""

import hashlib
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.cli.client.api import Client
from tests.support.containers import agent_headers
from tests.support.fix_stack import AGENT_PROGRAM, DEV, GAME, Running
from tests.support.observe import dump, edited, files_below, files_holding, processes

RUNS = Path("/dev/shm")
SECRET_FILES = {"lab/secrets.json", "lab/agent-token", "tokens.json", "hostwright.json"}
"""Where the secrets themselves are kept, below the state directory; nobody but their owner may read them."""


@dataclass
class Watch:
    """What was seen of processes and run directories while operations ran."""

    seen: set[str] = field(default_factory=set)
    runs: set[Path] = field(default_factory=set)
    found: set[str] = field(default_factory=set)
    modes: set[tuple[str, str]] = field(default_factory=set)


def planted(stack: Running, client: Client) -> dict[str, str]:
    """Every secret by name. The bridge takes a digest in place of its secret, which makes that one as secret."""
    tokens = {"operator": stack.operator_token, "demo": stack.stack.run["customerToken"], "customer": client.token}
    digest = hashlib.sha256(stack.lab.secrets["velocity_secret"].encode()).hexdigest()
    return stack.lab.secrets | tokens | {"velocity digest": digest}


def provision(stack: Running, client: Client, order: dict[str, Any], secrets: dict[str, str]) -> dict[str, Any]:
    """Order and wait, as soon as the secrets have the token that only this server's agent takes."""
    accepted = client.request("POST", "/api/instances", body=order)
    headers = agent_headers(stack.lab, accepted["serverId"])
    secrets[f"token of {accepted['serverId']}"] = headers["Authorization"].removeprefix("Bearer ")
    return stack.finish(client, accepted["operationId"])


@contextmanager
def watching(stack: Running, secrets: dict[str, str]) -> Iterator[Watch]:
    """Looks again and again, as `ps` and a curious neighbour would."""
    watch, leaving = Watch(), threading.Event()

    def look() -> None:
        while not leaving.is_set():
            _look_at_processes(stack, secrets, watch)
            _look_at_runs(stack, secrets, watch)
            leaving.wait(0.1)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        leaving.set()
        thread.join()


def _look_at_processes(stack: Running, secrets: dict[str, str], watch: Watch) -> None:
    for process in processes(stack):
        try:
            told = "\0".join([*process.cmdline(), *(f"{k}={v}" for k, v in process.environ().items())])
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        watch.seen.update(word for word in ("ansible-playbook", "orchestrator.lab", AGENT_PROGRAM) if word in told)
        watch.found.update(f"{name} in process {told[:80]!r}" for name, value in list(secrets.items()) if value in told)


def _look_at_runs(stack: Running, secrets: dict[str, str], watch: Watch) -> None:
    """The run directories of this stack; another's may be there too."""
    for directory in RUNS.glob("hostwright-run-*"):
        try:
            if str(stack.state_dir) not in (directory / "variables.json").read_text():
                continue
            files = [path for path in directory.rglob("*") if path.is_file()]
            watch.modes.add(("directory", oct(stat.S_IMODE(directory.stat().st_mode))))
            watch.modes.add(("secrets", oct(stat.S_IMODE((directory / "secrets.json").stat().st_mode))))
            if "billing_secret" in (directory / "secrets.json").read_text():
                watch.found.add("billing_secret, which no role names, in a run's directory")
        except OSError:
            continue  # it ended meanwhile, or is only being made
        watch.runs.add(directory)
        others = [path for path in files if path != directory / "secrets.json"]
        watch.found.update(files_holding(others, list(secrets.values())))


def assert_hidden(stack: Running, secrets: dict[str, str], watch: Watch, answers: list[Any]) -> None:
    assert watch.found == set()
    assert watch.seen >= {"ansible-playbook", "orchestrator.lab"}
    assert watch.runs
    assert watch.modes == {("directory", "0o700"), ("secrets", "0o600")}
    assert [directory for directory in watch.runs if directory.exists()] == []
    rows, told = dump(stack), str(answers)
    assert [name for name, value in secrets.items() if value in rows] == []
    assert [name for name, value in secrets.items() if value in told] == []
    kept = {stack.state_dir / name for name in SECRET_FILES}
    assert [path for path in kept if stat.S_IMODE(path.stat().st_mode) != 0o600] == []
    assert files_holding((path for path in files_below(stack.state_dir) if path not in kept), secrets.values()) == []


def everything_told(stack: Running, client: Client, operation: dict[str, Any]) -> list[Any]:
    """What the API says of an operation and around it, to the customer and to the operator."""
    paths = [
        f"/api/instances/operations/{operation['operationId']}",
        f"/api/instances/operations/{operation['operationId']}/events?limit=500",
        "/api/instances/operations",
        "/api/instances",
        "/api/servers",
    ]
    return [who.request("GET", path) for who in (client, stack.operator) for path in paths]


def test_secrets_stay_hidden_while_all_goes_well(stack: Running) -> None:
    client = stack.customer()
    secrets = planted(stack, client)
    answers: list[Any] = []
    with watching(stack, secrets) as watch:
        for order in (GAME, DEV):
            operation = provision(stack, client, order, secrets)
            assert operation["status"] == "succeeded", operation["error"]
            answers += everything_told(stack, client, operation)
            answers.append(stack.tear_down(client, operation["serverId"]))
    assert watch.seen == {"ansible-playbook", "orchestrator.lab", AGENT_PROGRAM}
    assert_hidden(stack, secrets, watch, answers)


REPEATING: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "proxmox": (
        "proxmox-denied",
        [{"target": "proxmox", "method": "POST", "path": "/lxc/9000/clone", "status": 403,
          "message": "token {proxmox_token} may not"}],
    ),
    "agent refuses": (
        "agent-rejected",
        [{"target": "agent", "behaviour": "reject", "message": "Bearer {agent_token} is odd"}],
    ),
    "agent fails": (
        "agent-error",
        [{"target": "agent", "behaviour": "error", "message": "cannot use {agent_token}",
          "log": ["Authorization: Bearer {agent_token}"]}],
    ),
    "dns": (
        "dns-failed",
        [{"target": "technitium", "path": "/add", "status": "error", "errorMessage": "token={technitium_token}"},
         {"target": "cloudflare", "method": "POST", "httpStatus": 403, "code": 9109, "message": "{cloudflare_token}"}],
    ),
    "velocity": (
        "velocity-failed",
        [{"target": "velocity", "path": "/register", "httpStatus": 400,
          "message": "header {velocity digest}, secret {velocity_secret}"}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REPEATING)
def test_secrets_stay_hidden_when_a_service_repeats_them(stack: Running, name: str) -> None:
    client = stack.customer()
    secrets = planted(stack, client)
    code, faults = REPEATING[name]
    for fault in faults:
        stack.lab.fault(**_filled(fault, secrets))
    with watching(stack, secrets) as watch:
        operation = provision(stack, client, GAME, secrets)
    stack.lab.clear_faults()
    assert operation["error"]["code"] == code
    assert "***" in operation["error"]["message"]
    assert_hidden(stack, secrets, watch, [operation, *everything_told(stack, client, operation)])


@pytest.mark.parametrize("right", [[], ["proxmox_token"]], ids=["proxmox", "all others"])
def test_wrong_secrets_stay_hidden_too(stack: Running, right: list[str]) -> None:
    """What is configured is secret even where it is wrong: half of it may be right."""
    client = stack.customer()
    file = stack.state_dir / "lab" / "secrets.json"
    wrong = {name: f"wrong-{value[:-1]}" for name, value in stack.lab.secrets.items() if name not in right}
    secrets = planted(stack, client) | {f"wrong {name}": value for name, value in wrong.items()}
    with edited(file, **wrong), watching(stack, secrets) as watch:
        operation = provision(stack, client, GAME, secrets)
    assert operation["error"]["code"] == ("agent-rejected" if right else "proxmox-denied")
    # The cleanup went with the same secrets: it cannot reach Proxmox, but without a publication it asks nobody else.
    assert operation["cleanup"]["status"] == ("ok" if right else "failed")
    assert stack.tear_down(client, operation["serverId"])["status"] == "succeeded"
    assert_hidden(stack, secrets, watch, [operation, *everything_told(stack, client, operation)])


def test_search_finds_a_secret_where_there_is_one(stack: Running) -> None:
    """The search itself can fail: it finds the tokens in the files that are theirs."""
    secrets = planted(stack, stack.customer())
    found = files_holding(files_below(stack.state_dir), secrets.values())
    assert {line.partition(":")[0] for line in found} == {str(stack.state_dir / name) for name in SECRET_FILES}


def _filled(value: Any, secrets: dict[str, str]) -> Any:
    if isinstance(value, str):
        return value.format_map(secrets)
    if isinstance(value, list):
        return [_filled(item, secrets) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, secrets) for key, item in value.items()}
    return value
