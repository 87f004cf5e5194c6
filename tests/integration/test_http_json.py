"""The http_json task in a real play against a real server."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.http_server import Answer, Request, http_server
from tests.support.playbook import Run, play

TOKEN = "planted-http-token"


def task(directory: Path, *flags: str, **arguments: Any) -> Run:
    """One http_json task as a play of its own."""
    secrets = directory / "secrets.json"
    secrets.touch(0o600)
    secrets.write_text(json.dumps({"api_token": TOKEN}))
    playbook = directory / "play.yml"
    playbook.write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [{"name": "Ask", "http_json": arguments}]}])
    )
    return play(playbook, directory, {"hostwright_secrets_file": str(secrets)}, arguments=flags)


def respond(request: Request) -> Answer:
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return Answer(401, {"error": f"not you: {request.headers.get('Authorization')}"})
    if request.method == "DELETE":
        return Answer(404, {"error": "gone"})
    return Answer(200, {"method": request.method, "echo": TOKEN})


def test_get_reads_and_hides_the_secret_wherever_it_stands(tmp_path: Path) -> None:
    with http_server(respond) as server:
        run = task(tmp_path, url=f"{server.url}/x", secret="api_token").ok()
    assert run.result("Ask")["body"] == {"method": "GET", "echo": "***"}
    assert run.changed == []
    assert TOKEN not in run.output


def test_changed_is_honest(tmp_path: Path) -> None:
    with http_server(respond) as server:
        base = {"url": server.url, "secret": "api_token"}
        assert task(tmp_path, **base, method="PUT", body={"a": 1}).ok().changed == ["Ask"]
        gone = task(tmp_path, **base, method="DELETE", expect=[200, 404], unchanged=[404]).ok()
    assert gone.changed == []


def test_unexpected_status_fails_with_the_servers_words_and_the_code(tmp_path: Path) -> None:
    with http_server(respond) as server:
        failure = task(tmp_path, url=server.url, error_code="agent-rejected").failure
    assert failure["code"] == "agent-rejected"
    assert failure["msg"] == f"GET {server.url} answers 401 instead of [200]: not you: None"


def test_check_mode_reads_but_does_not_change(tmp_path: Path) -> None:
    with http_server(respond) as server:
        task(tmp_path, "--check", url=server.url, secret="api_token").ok()
        assert (
            task(tmp_path, "--check", url=server.url, secret="api_token", method="POST").ok().result("Ask")["changed"]
        )
    assert server.calls == ["GET /"]


def test_silence_is_the_code_after_the_timeout(tmp_path: Path) -> None:
    failure = task(tmp_path, url="http://127.0.0.1:1/", timeout=1, error_code="agent-unreachable").failure
    assert failure["code"] == "agent-unreachable"
    assert "refused" in failure["msg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "missing required arguments: url"),
        ({"url": "http://x", "methd": "GET"}, "methd"),
        ({"url": "http://x", "error_code": "agent-rejectd"}, "value of error_code must be one of"),
    ],
    ids=["missing", "typo", "no code"],
)
def test_wrong_arguments_are_named(tmp_path: Path, arguments: dict[str, str], words: str) -> None:
    failure = task(tmp_path, **arguments).failure
    assert failure["code"] == "internal"
    assert words in failure["msg"]
