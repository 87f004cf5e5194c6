"""`hostwright doctor`: one line for each thing that a worker needs."""

import hmac
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.drivers.agent.weakness import find_weakness
from orchestrator.settings import PROJECT_DIR
from orchestrator.store import sweep
from orchestrator.store.connection import Database
from tests.support import containers
from tests.support.fix_database import CUSTOMER, fresh_database
from tests.support.fix_lab import Lab
from tests.support.fix_lab_proxmox import wait_until
from tests.support.http_server import Answer, Request, http_server


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, database: Database, lab: Lab, tmp_path: Path) -> Path:
    """This database and lab, and secrets of the test's own."""
    path = tmp_path / "secrets.json"
    shutil.copy(lab.state_dir / "lab" / "secrets.json", path)
    path.chmod(0o600)
    monkeypatch.setenv("HOSTWRIGHT_DATABASE_URL", database.url)
    monkeypatch.setenv("HOSTWRIGHT_STATE_DIR", str(lab.state_dir))
    monkeypatch.setenv("HOSTWRIGHT_SECRETS_FILE", str(path))
    return path


def examine(code: int) -> dict[str, Any]:
    """What it says of each check, when it ends with this code."""
    result = CliRunner().invoke(app, ["doctor", "--json"], catch_exceptions=False)
    assert result.exit_code == code, result.output
    told = json.loads(result.output)
    assert told["ok"] is (code == 0)
    return {check["name"]: check["message"] for check in told["checks"]}


def test_case_a16_finds_nothing_wrong_where_a_worker_can_work(database: Database) -> None:
    sweep.worker_seen(database, "w")
    checks = ("database", "inventory", "secrets", "self-test", "templates", "workers", "agents")
    assert examine(0) == dict.fromkeys(checks)


def test_case_f8_names_a_template_that_is_not_there(
    database: Database, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PROJECT_DIR / "inventory" / "lab", tmp_path / "inventory", symlinks=False)
    (tmp_path / "inventory" / "zz.yml").write_text("all: {vars: {hostwright_templates: {game: 9000, dev: 9009}}}")
    monkeypatch.setenv("HOSTWRIGHT_INVENTORY", str(tmp_path / "inventory"))
    sweep.worker_seen(database, "w")
    assert examine(1)["templates"].startswith("template 9009 is not on node")


@pytest.fixture
def own_server(database: Database, lab: Lab) -> Iterator[tuple[UUID, str]]:
    """The only ready server: its id, and the address of its agent, which has no configuration."""
    server_id = uuid4()
    address = containers.make(lab, 5931, server_id=str(server_id))
    with database.transaction() as connection:
        connection.execute(READY, (server_id, CUSTOMER, address))
    yield server_id, address
    containers.remove(lab, 5931, server_id=str(server_id))


READY = """
insert into instance (id, customer_id, ctype, status, vmid, hostname, address, spec, memory_mib, cpu_cores)
values (%s, %s, 'game', 'ready', 5931, 'mc-vanilla-5931', %s, '{}', 512, 1)
"""


def configure(lab: Lab, address: str, headers: dict[str, str]) -> None:
    """Send the agent a configuration with these headers, as soon as it listens."""

    def send() -> bool:
        with suppress(httpx.ConnectError):
            payload = containers.VANILLA | {"vmid": 5931}
            answer = httpx.post(f"http://{address}:18888/config", json=payload, headers=headers, trust_env=False)
            return answer.raise_for_status().is_success
        return False

    wait_until(send)


def test_case_c11_warns_of_agents_that_take_one_token_for_all(
    lab: Lab, database: Database, own_server: tuple[UUID, str]
) -> None:
    configure(lab, own_server[1], {"Authorization": f"Bearer {lab.secrets['agent_token']}"})
    sweep.worker_seen(database, "w")
    said = examine(0)["agents"]
    assert said is not None
    assert said.startswith("the agent of mc-vanilla-5931, the newest game server, takes the template's token")
    assert not [value for value in lab.secrets.values() if value in said]


def test_case_c11_warns_of_programs_that_can_read_the_token(
    lab: Lab, database: Database, own_server: tuple[UUID, str]
) -> None:
    server_id, address = own_server
    configure(lab, address, containers.agent_headers(lab, str(server_id)))
    sweep.worker_seen(database, "w")
    said = examine(0)["agents"]
    assert said is not None
    assert "runs programs as its own user" in said
    lines = CliRunner().invoke(app, ["doctor"]).output.splitlines()
    assert lines[-1].split()[:2] == ["agents", "warning"]


OWN = {"Authorization": "Bearer " + hmac.new(b"the master", b"agent:1", "sha256").hexdigest()}


@pytest.mark.parametrize(
    ("takes", "isolated", "said"),
    [
        (None, True, "asks nobody for a token"),
        ("shared", True, "takes the template's token"),
        (OWN["Authorization"], False, "runs programs as its own user"),
        (OWN["Authorization"], True, None),
        ("nobody's", True, None),
    ],
)
def test_case_c11_knows_an_agent_by_what_it_takes(
    secrets: Path, takes: str | None, isolated: bool, said: str | None
) -> None:
    secrets.write_text(json.dumps({"agent_token": "shared", "agent_master_secret": "the master"}))

    def answer(request: Request) -> Answer:
        given = request.headers.get("Authorization", "")
        is_right = takes is None or given in (takes, f"Bearer {takes}")
        return Answer(200, {"isolated": isolated}) if is_right else Answer(401)

    with http_server(answer) as server:
        url = httpx.URL(server.url)
        agent = {"port": url.port, "secret": "agent_token", "master_secret": "agent_master_secret"}
        found = find_weakness(url.host, agent, secrets, "1")
    assert (said in found) if said and found else found is said
    assert find_weakness(url.host, agent, secrets, "1") is None, "nobody answers"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("hostwright_proxmox: {}", "is not complete"),
        ("hostwright_proxmox: {host: '{{ x }}', node: n, user: u, token_name: t}", "has templates"),
        ("hostwright_templates: {game: CHANGE_ME, dev: 9001}", "is not complete"),
        ("hostwright_templates: {game: 12, dev: 9001}", "hostwright_templates.game is 12 and must be"),
    ],
)
def test_case_f8_never_calls_well_what_it_could_not_look_at(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, said: str
) -> None:
    shutil.copytree(PROJECT_DIR / "inventory" / "lab", tmp_path / "inventory", symlinks=False)
    (tmp_path / "inventory" / "zz.yml").write_text(f"all: {{vars: {{{told}}}}}")
    monkeypatch.setenv("HOSTWRIGHT_INVENTORY", str(tmp_path / "inventory"))
    result = CliRunner().invoke(app, ["doctor", "--json"])
    (found,) = [check for check in json.loads(result.output)["checks"] if check["name"] == "templates"]
    assert found["warning"]
    assert said in found["message"]


def test_case_a16_names_secrets_that_all_may_read(database: Database, secrets: Path) -> None:
    secrets.chmod(0o644)
    wrong = {name: message for name, message in examine(1).items() if message}
    assert wrong.keys() == {"secrets", "self-test", "templates", "workers"}
    assert "chmod 600" in wrong["secrets"]
    assert "hostwright worker" in wrong["workers"]
    lines = CliRunner().invoke(app, ["doctor"]).output.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["database", "ok"], ["inventory", "ok"], ["secrets", "wrong"], ["self-test", "wrong"], ["templates", "wrong"],
        ["workers", "wrong"], ["agents", "ok"],
    ]  # fmt: skip


def test_case_a15_has_ansibles_words_for_a_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    found = examine(1)
    assert "requires the locale encoding to be UTF-8" in found["self-test"]
    assert "requires the locale encoding to be UTF-8" in found["inventory"]


def test_names_a_database_without_migrations(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fresh_database(server_url, "empty") as url:
        monkeypatch.setenv("HOSTWRIGHT_DATABASE_URL", url)
        found = examine(1)
    assert "hostwright migrate" in found["database"]
    assert "hostwright migrate" in found["workers"]


def test_names_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTWRIGHT_DATABASE_URL", "postgresql://x@127.0.0.1:1/x")
    found = examine(1)
    assert found["database"]
    assert found["workers"]
    assert not found["inventory"]
