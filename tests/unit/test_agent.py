"""The reference agent as a real process, driven over HTTP, with the lab's stand-ins as artifacts."""

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from mcstatus import JavaServer

from orchestrator.drivers.players.minecraft import varint
from orchestrator.lab.guests import template
from tests.support.containers import VANILLA

AGENT = template.REPOSITORY / "agent" / "hostwright_agent.py"
PATIENCE = 10.0  # seconds any condition may take on a busy machine
GAME: dict[str, Any] = VANILLA | {"vmid": 5000, "callback_url": "http://127.0.0.1/callback"}
DEV: dict[str, Any] = {
    "vmid": 6000,
    "container_type": "dev",
    "runtime": "python",
    "version": "3.13",
    "memory_mb": 1024,
    "enable_code_server": True,
    "code_server_port": 6000,
    "callback_url": "http://127.0.0.1/callback",
}


def claim_address() -> tuple[str, socket.socket]:
    """A loopback address that no other test uses while the returned socket is open."""
    while True:
        address = f"127.251.{random.randint(1, 254)}.{random.randint(1, 254)}"  # noqa: S311
        claim = socket.socket()
        try:
            claim.bind((address, 18887))
        except OSError:
            claim.close()
            continue
        return address, claim


CHECK_CONFIG = """
import sys, json, hostwright_agent as agent
try:
    agent.check_config(json.loads(sys.argv[1]))
except agent.RejectedError as error:
    print(error)
"""


class Agent:
    """A running agent and a client for it."""

    def __init__(self, root: Path, address: str, *options: str, headers: dict[str, str] | None = None) -> None:
        self.root, self.address = root, address
        command = [sys.executable, "-I", "-S", str(AGENT), "--root", str(root)]
        self.journal = root.with_name(f"{root.name}.log")
        with self.journal.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--listen", f"{address}:18888", *options], stdout=log, stderr=log
            )
        self.http = httpx.Client(base_url=f"http://{address}:18888", headers=headers, timeout=PATIENCE)
        wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            return self.http.get("/health").status_code > 0
        except httpx.ConnectError:
            return False

    def status(self, **query: float) -> dict[str, Any]:
        return dict(self.http.get("/status", params=query).json())

    def configure(self, payload: object) -> httpx.Response:
        return self.http.post("/config", json=payload)

    def wait_for(self, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first status that fulfils the condition, waited for by long poll."""
        deadline = time.monotonic() + PATIENCE
        status = self.status()
        while not done(status):
            assert time.monotonic() < deadline, status
            status = self.status(wait=1, since=status["revision"])
        return status

    def wait_ready(self) -> dict[str, Any]:
        return self.wait_for(lambda status: status["state"] == "running" and status["ready"])

    def end(self) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(PATIENCE)


StartAgent = Callable[..., Agent]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def refused(address: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((address, port)) != 0


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    template.build(root, str(Path(sys.executable).resolve()))
    return root / "artifacts"


@pytest.fixture
def start_agent(tmp_path: Path, artifacts: Path) -> Iterator[StartAgent]:
    """Starts agents, each in a root of its own unless given one; ends them all."""
    agents: list[Agent] = []
    claims: list[socket.socket] = []
    names = (f"agent{n}" for n in itertools.count())

    def start(*options: str, root: Path | None = None, headers: dict[str, str] | None = None) -> Agent:
        address, claim = claim_address()
        claims.append(claim)
        root = root or tmp_path / next(names)
        agents.append(Agent(root, address, "--artifacts", str(artifacts), *options, headers=headers))
        return agents[-1]

    yield start
    for agent in agents:
        agent.end()
    for claim in claims:
        claim.close()


@pytest.fixture
def faults(tmp_path: Path) -> Callable[..., str]:
    """Writes a faults file; gives its path."""

    def write(**fault: Any) -> str:
        path = tmp_path / "faults.json"
        path.write_text(json.dumps([{"id": 1, "vmid": None, "times": None, **fault}]))
        return str(path)

    return write


def test_configure_brings_a_game_up_that_players_can_ping(start_agent: StartAgent) -> None:
    agent = start_agent()
    assert agent.status()["state"] == "idle"
    assert agent.http.get("/ready").status_code == 503

    answer = agent.configure(GAME)
    assert (answer.status_code, answer.json()) == (202, {"ok": True, "state": "installing"})
    status = agent.wait_ready()

    assert status["config"] == GAME
    assert status["readySource"] == "minecraft_ping"
    assert status["processRunning"] is True
    assert agent.http.get("/ready").status_code == 200
    assert agent.http.get("/game/players").json() == {"online": 0, "max": 20, "players": []}
    ping = JavaServer(agent.address, 25565).status(tries=1)
    assert ping.version.name == "1.21.7"
    assert ping.motd.to_plain() == "vanilla-5000"


def test_stop_start_and_restart_control_the_game(start_agent: StartAgent) -> None:
    agent = start_agent()
    agent.configure(GAME)
    agent.wait_ready()

    stopped = agent.http.post("/stop")
    assert (stopped.status_code, stopped.content) == (204, b"")
    assert agent.status()["state"] == "idle"
    assert refused(agent.address, 25565)
    assert agent.http.get("/game/players").status_code == 503

    assert agent.http.post("/start").json() == {"ok": True, "state": "starting"}
    first = agent.wait_ready()
    assert agent.http.post("/restart").status_code == 200
    agent.wait_for(lambda status: status["ready"] and status["revision"] > first["revision"])


def test_configure_is_refused_while_busy(start_agent: StartAgent) -> None:
    agent = start_agent("--install-seconds", "60")
    assert agent.configure(GAME).status_code == 202

    answer = agent.configure(GAME)

    assert answer.status_code == 409
    assert answer.json()["error"] == "the agent is busy: installing"


def test_configure_replaces_what_runs(start_agent: StartAgent) -> None:
    agent = start_agent()
    agent.configure(GAME)
    agent.wait_ready()

    assert agent.configure({**GAME, "version": "1.20.4", "artifact_path": "minecraft/vanilla/1.20.4/server.jar"})
    agent.wait_for(lambda status: status["ready"] and status["config"]["version"] == "1.20.4")

    assert JavaServer(agent.address, 25565).status(tries=1).version.name == "1.20.4"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"container_type": "vm"}, "container_type is neither game nor dev"),
        ({"vmid": "5000"}, "vmid is missing or not of type int"),
        ({"memory_mb": True}, "memory_mb is missing or not of type int"),
        ({"ports": []}, "ports is missing or not of type list"),
        ({"ports": [0]}, "a port is not a number from 1 to 65535"),
        ({"world": "a\nserver-port=1"}, "world contains control characters"),
        ({"artifact_path": "../../etc/shadow"}, "artifact_path is not a path below the artifact directory"),
        ({"java_path": "/bin/sh"}, "java_path is not a path below the artifact directory"),
        ({"env": ["EULA"]}, "env is not an object"),
    ],
)
def test_check_config_names_what_is_wrong(change: dict[str, Any], reason: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHECK_CONFIG, json.dumps({**GAME, **change})],
        cwd=AGENT.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.strip() == reason


def test_configure_answers_422_with_the_reason_and_changes_nothing(start_agent: StartAgent) -> None:
    agent = start_agent()

    answer = agent.configure({**GAME, "ports": "25565"})

    assert answer.status_code == 422
    assert answer.json() == {"ok": False, "error": "ports is missing or not of type list"}
    assert agent.status()["config"] is None


def test_http_errors_have_their_codes(start_agent: StartAgent) -> None:
    agent = start_agent()

    assert agent.http.post("/config", content=b"{").status_code == 400
    refused = agent.http.post("/config", content=b" " * 70_000)
    assert (refused.status_code, refused.headers["connection"]) == (413, "close")
    assert agent.http.get("/nothing").status_code == 404
    assert agent.http.get("/config").status_code == 404
    assert agent.http.get("/status?wait=soon").status_code == 400
    assert agent.http.post("/start").status_code == 409
    assert agent.http.get("/game/players").status_code == 409


def test_refused_body_does_not_cost_the_client_its_answer(start_agent: StartAgent) -> None:
    """The client goes on sending after it was refused; a connection closed on unread data would be reset."""
    agent = start_agent()
    for _ in range(5):
        with socket.create_connection((agent.address, 18888), timeout=10) as client:
            client.sendall(b"POST /config HTTP/1.1\r\nHost: agent\r\nContent-Length: 500000\r\n\r\n")
            for _ in range(10):
                client.sendall(b" " * 50_000)
            assert client.makefile("rb").readline() == b"HTTP/1.1 413 Request Entity Too Large\r\n"


def test_missing_artifact_ends_in_error(start_agent: StartAgent) -> None:
    agent = start_agent()
    agent.configure({**GAME, "artifact_path": "minecraft/vanilla/0.0/server.jar"})

    status = agent.wait_for(lambda status: status["state"] == "error")

    assert status["error"] == "artifact minecraft/vanilla/0.0/server.jar is not in this template"


def test_fault_error_reports_its_words_and_log_tail(start_agent: StartAgent, faults: Callable[..., str]) -> None:
    agent = start_agent("--faults", faults(behaviour="error", times=1, message="no such mod pack", log=["one", "two"]))
    agent.configure(GAME)

    status = agent.wait_for(lambda status: status["state"] == "error")
    assert status["error"] == "no such mod pack"
    assert status["lastCrashLogTail"] == ["one", "two"]

    assert agent.configure(GAME).status_code == 202
    assert agent.wait_ready()["error"] is None


def test_fault_reject_is_counted_over_agents(start_agent: StartAgent, faults: Callable[..., str]) -> None:
    file = faults(behaviour="reject", message="not today", times=1)
    first, second = start_agent("--faults", file), start_agent("--faults", file)

    refusal = first.configure(GAME)

    assert (refusal.status_code, refusal.json()["error"]) == (422, "not today")
    assert second.configure(GAME).status_code == 202
    assert first.configure(GAME).status_code == 202


def test_crash_recovers_within_its_backoff(start_agent: StartAgent, faults: Callable[..., str]) -> None:
    agent = start_agent("--backoff", "0,0,0", "--faults", faults(behaviour="crash", count=2))
    agent.configure(GAME)

    status = agent.wait_ready()

    assert status["crashCount"] == 2
    assert status["lastCrashExitCode"] == 1
    assert status["lastCrashAt"] is not None
    assert "java.lang.OutOfMemoryError: Java heap space" in status["lastCrashLogTail"]


def test_crash_is_visible_while_it_backs_off(start_agent: StartAgent, faults: Callable[..., str]) -> None:
    agent = start_agent("--backoff", "60", "--faults", faults(behaviour="crash", times=1))
    agent.configure(GAME)

    status = agent.wait_for(lambda status: status["state"] == "crashed")
    assert (status["crashCount"], status["processRunning"]) == (1, False)

    assert agent.configure(GAME).status_code == 202
    assert agent.wait_ready()["crashCount"] == 0


def test_payload_that_cannot_be_saved_is_refused_and_changes_nothing(start_agent: StartAgent) -> None:
    agent = start_agent()
    agent.configure(GAME)
    before = agent.wait_ready()
    full = agent.root / "state.partial"
    full.mkdir()  # as a full disk, it lets nothing be written there

    refused = agent.configure(GAME | {"version": "1.20.4"})

    assert (refused.status_code, refused.json()["ok"]) == (500, False)
    assert str(full) in refused.json()["error"]
    assert agent.status() | {"timestamp": ""} == before | {"timestamp": ""}
    stopped = agent.http.post("/stop")
    assert (stopped.status_code, agent.status()["state"]) == (500, "idle")
    full.rmdir()
    assert agent.configure(GAME).status_code == 202
    agent.wait_ready()


def test_one_crash_too_many_is_an_error(start_agent: StartAgent, faults: Callable[..., str]) -> None:
    agent = start_agent("--backoff", "0,0", "--faults", faults(behaviour="crash", count=3))
    agent.configure(GAME)

    status = agent.wait_for(lambda status: status["state"] == "error")

    assert status["error"] == "crashed 3 times, the last time it exited with code 1"
    assert status["lastCrashLogTail"]


def test_killed_game_is_started_again(start_agent: StartAgent) -> None:
    agent = start_agent("--backoff", "0")
    agent.configure(GAME)
    agent.wait_ready()

    (game,) = psutil.Process(agent.process.pid).children()
    game.kill()

    status = agent.wait_for(lambda status: status["ready"] and status["crashCount"] == 1)
    assert status["lastCrashExitCode"] == -signal.SIGKILL


def test_hang_never_leaves_installing(start_agent: StartAgent, faults: Callable[..., str]) -> None:
    agent = start_agent("--faults", faults(behaviour="hang"))
    agent.configure(GAME)
    seen = agent.wait_for(lambda status: status["state"] == "installing")

    began = time.monotonic()
    status = agent.status(wait=0.3)

    assert time.monotonic() - began >= 0.3
    assert status["revision"] == seen["revision"]
    assert agent.http.post("/stop").status_code == 204


def test_late_delays_every_answer(start_agent: StartAgent, faults: Callable[..., str]) -> None:
    agent = start_agent("--faults", faults(behaviour="late", seconds=0.3))

    began = time.monotonic()
    assert agent.configure(GAME).status_code == 202
    assert time.monotonic() - began >= 0.3
    agent.http.get("/health")
    assert time.monotonic() - began >= 0.6


def test_die_ends_the_process_and_a_new_one_goes_on(start_agent: StartAgent, faults: Callable[..., str]) -> None:
    options = ("--faults", faults(behaviour="die", times=1), "--identity", "ct-5000")
    agent = start_agent(*options)
    agent.configure(GAME)
    assert agent.process.wait(PATIENCE) == 70

    again = start_agent(*options, root=agent.root)

    assert again.wait_ready()["config"] == GAME


def test_long_poll_ends_at_the_next_change(start_agent: StartAgent) -> None:
    agent = start_agent("--install-seconds", "0.3")
    idle = agent.status()
    began = time.monotonic()
    assert agent.status(wait=20)["state"] == "idle", "a settled agent answers at once"

    agent.configure(GAME)
    missed = agent.status(wait=20, since=idle["revision"])
    change = agent.status(wait=20, since=missed["revision"])

    assert missed["revision"] > idle["revision"]
    assert change["revision"] > missed["revision"]
    assert time.monotonic() - began < 10


def test_token_is_wanted_on_every_call(start_agent: StartAgent, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    agent = start_agent("--token-file", str(secret), headers={"Authorization": "Bearer s3cret"})

    for path in ("/health", "/ready", "/version", "/status", "/game/players", "/nothing"):
        assert httpx.get(f"http://{agent.address}:18888{path}").status_code == 401
    for token in ("", "Bearer", "Bearer s3cre", "Basic s3cret", "Bearer \u00fc"):
        headers = {b"Authorization": token.encode()}
        answer = httpx.post(f"http://{agent.address}:18888/config", json=GAME, headers=headers)
        assert answer.status_code == 401
    assert agent.status()["state"] == "idle"
    assert agent.configure(GAME).status_code == 202


BOOTSTRAP = "Hostwright-Bootstrap-Token"


@pytest.fixture
def bootstrap(tmp_path: Path) -> str:
    """The file of a template's token."""
    file = tmp_path / "bootstrap"
    file.write_text("of-the-template\n")
    return str(file)


def ask(agent: Agent, bearer: str, *, handing: str | None = None, payload: object = None) -> int:
    """The status of an answer; with `handing`, the template's token goes along, as the first configuration has it."""
    headers = {"Authorization": f"Bearer {bearer}"} | ({BOOTSTRAP: handing} if handing else {})
    url = f"http://{agent.address}:18888/"
    if payload is None:
        return httpx.get(f"{url}status", headers=headers).status_code
    return httpx.post(f"{url}config", headers=headers, json=payload).status_code


def test_case_c11_first_configuration_gives_the_agent_a_token_of_its_own(
    start_agent: StartAgent, bootstrap: str
) -> None:
    options, own = ("--token-file", bootstrap, "--identity", "ct-5000"), {"Authorization": "Bearer one's-own"}
    agent = start_agent(*options, headers=own)
    assert ask(agent, "of-the-template") == ask(agent, "one's-own", handing="of-the-template") == 200
    assert ask(agent, "one's-own") == ask(agent, "one's-own", handing="guessed") == 401
    assert ask(agent, "one's-own", handing="guessed", payload=GAME) == 401
    assert ask(agent, "one's-own", handing="of-the-template", payload={**GAME, "ports": []}) == 422
    assert ask(agent, "of-the-template") == 200, "what was refused has given it no token"

    assert ask(agent, "one's-own", handing="of-the-template", payload=GAME) == 202
    agent.wait_ready()

    assert ask(agent, "of-the-template") == ask(agent, "another's", handing="of-the-template") == 401
    assert ask(agent, "another's", handing="of-the-template", payload=GAME) == 401
    # Its answer may have been lost: the same is asked again with the same headers.
    assert ask(agent, "one's-own", handing="of-the-template") == 200
    assert ask(agent, "one's-own", handing="of-the-template", payload=GAME) == 202
    agent.wait_ready()
    state = agent.root / "state.json"
    assert state.stat().st_mode & 0o777 == 0o600
    assert not [one for one in ("one's-own", "of-the-template") if one in state.read_text() + agent.journal.read_text()]
    agent.end()

    again = start_agent(*options, root=agent.root, headers=own)
    assert ask(again, "of-the-template") == 401
    assert again.wait_ready()["config"] == GAME
    again.end()

    clone = start_agent("--token-file", bootstrap, "--identity", "ct-5001", root=agent.root)
    assert ask(clone, "one's-own") == 401
    assert ask(clone, "another's", handing="of-the-template", payload={**GAME, "vmid": 5001}) == 202
    assert ask(clone, "another's") == 200


def test_case_c11_long_poll_with_the_templates_token_does_not_outlive_it(
    start_agent: StartAgent, bootstrap: str
) -> None:
    agent = start_agent("--token-file", bootstrap)
    url = f"http://{agent.address}:18888/status"
    headers = {"Authorization": "Bearer of-the-template"}
    revision = httpx.get(url, headers=headers).json()["revision"]
    with ThreadPoolExecutor(1) as threads:
        asked = {"wait": 20, "since": revision}
        poll = threads.submit(httpx.get, url, params=asked, headers=headers, timeout=PATIENCE)
        time.sleep(0.3)  # it may come too late to wait, and is refused all the same
        assert ask(agent, "one's-own", handing="of-the-template", payload=GAME) == 202
        assert poll.result().status_code == 401


def test_case_c11_of_two_first_configurations_at_once_one_is_refused(start_agent: StartAgent, bootstrap: str) -> None:
    agent = start_agent("--token-file", bootstrap)
    body, answers = json.dumps(GAME).encode(), []
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection((agent.address, 18888), PATIENCE)) for _ in range(2)]
        for bearer, client in zip(("one", "two"), clients, strict=True):
            lines = ("POST /config HTTP/1.1", f"Authorization: Bearer {bearer}", f"{BOOTSTRAP}: of-the-template")
            client.sendall(
                "\r\n".join([*lines, f"Content-Length: {len(body)}", "Expect: 100-continue", "", ""]).encode()
            )
            assert client.recv(64).startswith(b"HTTP/1.1 100"), "its token is right so far"
        for client in clients:
            client.sendall(body)
            answers.append(client.recv(64).split()[1])
    assert answers == [b"202", b"401"]
    assert (ask(agent, "one"), ask(agent, "two")) == (200, 401)


def test_case_c11_sender_without_a_token_of_its_own_is_taken_as_before(start_agent: StartAgent, bootstrap: str) -> None:
    agent = start_agent("--token-file", bootstrap, headers={"Authorization": "Bearer of-the-template"})
    assert agent.configure(GAME).status_code == 202
    assert agent.wait_ready()["config"] == GAME


def test_reboot_starts_the_own_game_and_a_clone_does_not(start_agent: StartAgent, tmp_path: Path) -> None:
    agent = start_agent("--identity", "ct-5000")
    agent.configure(GAME)
    agent.wait_ready()
    clone = tmp_path / "clone"
    shutil.copytree(agent.root, clone)
    agent.end()

    rebooted = start_agent("--identity", "ct-5000", root=agent.root)
    assert rebooted.wait_ready()["config"] == GAME

    other = start_agent("--identity", "ct-5001", root=clone)
    status = other.status()
    assert (status["state"], status["ready"], status["config"]) == ("idle", False, GAME)
    assert refused(other.address, 25565)
    assert other.configure({**GAME, "vmid": 5001}).status_code == 202
    assert other.wait_ready()["config"]["vmid"] == 5001


def test_stopped_game_stays_stopped_after_a_reboot(start_agent: StartAgent) -> None:
    agent = start_agent("--identity", "ct-5000")
    agent.configure(GAME)
    agent.wait_ready()
    agent.http.post("/stop")
    agent.end()

    rebooted = start_agent("--identity", "ct-5000", root=agent.root)

    assert (rebooted.status()["state"], rebooted.status()["config"]) == ("idle", GAME)


def test_dev_container_serves_its_code_server(start_agent: StartAgent) -> None:
    agent = start_agent()
    agent.configure(DEV)

    assert agent.wait_ready()["readySource"] == "http"
    assert "code-server" in httpx.get(f"http://{agent.address}:6000/").text
    assert agent.http.post("/stop").status_code == 409


def test_dev_container_without_code_server_is_ready_when_installed(start_agent: StartAgent) -> None:
    agent = start_agent()
    agent.configure({**DEV, "enable_code_server": False})

    status = agent.wait_ready()

    assert (status["readySource"], status["processRunning"]) == ("runtime", False)


def test_properties_keep_what_the_customer_set(start_agent: StartAgent) -> None:
    agent = start_agent()
    (agent.root / "server").mkdir(parents=True)
    properties = agent.root / "server" / "server.properties"
    properties.write_text("# mine\nmotd=Hello\nserver-port=1\n")

    agent.configure({**GAME, "world": "skylands", "env": {"EULA": "true"}})
    agent.wait_ready()

    lines = properties.read_text().splitlines()
    assert "motd=Hello" in lines
    assert "server-port=25565" in lines
    assert "level-name=skylands" in lines
    assert (agent.root / "server" / "eula.txt").read_text() == "eula=true\n"


@pytest.mark.parametrize("name", ["server.jar", "server-installer.jar"])
def test_minecraft_without_accepted_eula_fails_at_once(start_agent: StartAgent, tmp_path: Path, name: str) -> None:
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / name).write_bytes(b"PK no program")
    agent = start_agent("--artifacts", str(tmp_path / "jars"))
    agent.configure({**GAME, "artifact_path": name})
    status = agent.wait_for(lambda status: status["state"] in ("error", "crashed"))
    assert (status["state"], status["crashCount"]) == ("error", 0)
    assert status["error"] == "the Minecraft EULA is not accepted: order with env EULA=true"


@pytest.mark.parametrize("accepted", ["env", "file"])
def test_minecraft_with_accepted_eula_gets_to_java(start_agent: StartAgent, tmp_path: Path, accepted: str) -> None:
    (tmp_path / "jars" / "java" / "bin").mkdir(parents=True)
    (tmp_path / "jars" / "server.jar").write_bytes(b"PK no program")
    java = tmp_path / "jars" / "java" / "bin" / "java"
    java.write_text("#!/bin/sh\necho this is java; read line\n")
    java.chmod(0o755)
    with tarfile.open(tmp_path / "jars" / "java.tar.gz", "w:gz") as archive:
        archive.add(java, "jdk/bin/java")
    agent = start_agent("--artifacts", str(tmp_path / "jars"))
    (agent.root / "server").mkdir(parents=True)
    if accepted == "file":
        (agent.root / "server" / "eula.txt").write_text("# Mojang\nEULA = TRUE\n")
    env = {"EULA": "true"} if accepted == "env" else {}
    agent.configure({**GAME, "artifact_path": "server.jar", "java_path": "java.tar.gz", "env": env})
    assert agent.wait_for(lambda status: status["processRunning"] or status["state"] == "error")["error"] is None


def test_termination_leaves_no_process(start_agent: StartAgent) -> None:
    agent = start_agent()
    agent.configure(GAME)
    agent.wait_ready()
    (game,) = psutil.Process(agent.process.pid).children()

    agent.process.terminate()

    assert agent.process.wait(PATIENCE) == 0
    assert not game.is_running()


# Games that are not Minecraft

XONOTIC: dict[str, Any] = {
    "vmid": 5001,
    "container_type": "game",
    "game": "xonotic",
    "variant": "stock",
    "version": "0.8.6",
    "world": "world",
    "ports": [26000],
    "artifact_path": "xonotic/0.8.6/start-server",
    "memory_mb": 2048,
    "probe": {"protocol": "udp", "send": "ffffffff676574696e666f", "expect": "ffffffff696e666f526573706f6e7365"},
}


@pytest.mark.parametrize(
    "probe", [XONOTIC["probe"], {"protocol": "tcp"}, {"protocol": "tcp", "send": "6869", "expect": "6869"}]
)
def test_game_with_a_probe_is_ready_when_it_answers_that(start_agent: StartAgent, probe: dict[str, str]) -> None:
    agent = start_agent()
    assert agent.configure({**XONOTIC, "probe": probe}).status_code == 202
    status = agent.wait_ready()
    assert status["readySource"] == "probe"
    assert not (agent.root / "server" / "server.properties").exists()
    players = agent.http.get("/game/players")
    assert (players.status_code, players.json()) == (409, {"error": "xonotic does not tell its players"})


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ({**XONOTIC["probe"], "expect": "00"}, "the game answered"),
        ({**XONOTIC["probe"], "send": "00"}, "the game did not answer within"),
    ],
    ids=["another answer", "no answer"],
)
def test_game_that_answers_otherwise_is_not_ready(start_agent: StartAgent, probe: dict[str, str], words: str) -> None:
    agent = start_agent()
    agent.configure({**XONOTIC, "probe": probe})
    status = agent.wait_for(lambda status: words in (status["readyError"] or ""))
    assert (status["state"], status["ready"]) == ("running", False)


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ("tcp", "probe is not an object with protocol tcp or udp"),
        ({"protocol": "sctp"}, "probe is not an object with protocol tcp or udp"),
        ({"protocol": "tcp", "send": "xy"}, "probe.send and probe.expect are hex digits"),
        ({"protocol": "tcp", "expect": 1}, "probe.send and probe.expect are hex digits"),
        ({"protocol": "udp"}, "probe.send is empty: a game over UDP cannot be asked without it"),
    ],
)
def test_probe_that_cannot_be_asked_is_refused(start_agent: StartAgent, probe: object, words: str) -> None:
    answer = start_agent().configure({**XONOTIC, "probe": probe})
    assert (answer.status_code, answer.json()["error"]) == (422, words)


def test_game_that_is_no_program_fails_with_its_path(start_agent: StartAgent, tmp_path: Path) -> None:
    (tmp_path / "start-server").write_bytes(b"PK no program")
    agent = start_agent("--artifacts", str(tmp_path))
    agent.configure({**XONOTIC, "artifact_path": "start-server"})
    status = agent.wait_for(lambda status: status["state"] == "error")
    assert status["error"] == "start-server does not begin with #!, so it cannot be run"


# Games that answer oddly

ODD_GAME = f"""#!{sys.executable}
import socket, sys, threading, time
from pathlib import Path
sys.stdout.buffer.write(Path("console").read_bytes())
sys.stdout.flush()
properties = dict(line.split("=", 1) for line in Path("server.properties").read_text().splitlines())
listener = socket.create_server((properties["server-ip"], int(properties["server-port"])))
def serve(connection):
    with connection:
        connection.recv(4096)
        answer = Path("answer").read_bytes()
        try:
            connection.sendall(answer)
            while answer.endswith(b"..."):
                time.sleep(0.05)
                connection.sendall(b" " if len(answer) < 99 else b" " * 65536)
            connection.recv(4096)
        except OSError:
            pass
def accept():
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
for line in sys.stdin:
    if line == "stop\\n":
        break
"""
DEEP = '{"version": {"name": "1", "protocol": 1}, "description": ' + "[" * 3000 + "]" * 3000 + "}"
OddGame = Callable[..., Agent]


@pytest.fixture
def start_odd_game(start_agent: StartAgent, tmp_path: Path) -> OddGame:
    """Starts an agent with a game whose answer to a status ping, and whose console, are the given bytes."""

    def start(answer: bytes, console: bytes = b"") -> Agent:
        (tmp_path / "game").mkdir()
        program = tmp_path / "game" / "server.jar"
        program.write_text(ODD_GAME)
        program.chmod(0o755)
        agent = start_agent("--artifacts", str(tmp_path / "game"))
        (agent.root / "server").mkdir(parents=True)
        (agent.root / "server" / "answer").write_bytes(answer)
        (agent.root / "server" / "console").write_bytes(console)
        agent.configure({**GAME, "artifact_path": "server.jar"})
        return agent

    return start


def status_packet(answer: object) -> bytes:
    text = (answer if isinstance(answer, str) else json.dumps(answer)).encode("utf-8", "surrogateescape")
    body = b"\0" + varint(len(text)) + text
    return varint(len(body)) + body


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (status_packet(DEEP), "the status is nested too deep"),
        (status_packet("[" * 50_000), "the status is nested too deep"),
        (status_packet([1]), "the status is not an object"),
        (status_packet("{{{"), "the status is not JSON"),
        (status_packet('{"a": "\udcff"}'), "the status is not JSON"),
        (status_packet('{"a": ' + "9" * 5000 + "}"), "the status is not JSON"),
        (varint(2**31) + b"\0" + varint(2**31) + b" " * 99 + b"...", "not a Minecraft server: a packet of"),
        (varint(300) + b"\0" + varint(2**31) + b" " * 99 + b"...", "not a Minecraft server: a packet of"),
        (varint(200_000) + b"\0" + varint(199_000) + b"...", "the server did not answer within 2 s"),
        (b"", "the server did not answer within 2 s"),
    ],
    ids=["nested", "open", "list", "no json", "no utf-8", "huge number", "huge", "huge text", "drip", "silent"],
)
def test_case_b10_odd_status_never_stops_the_game(start_odd_game: OddGame, answer: bytes, words: str) -> None:
    agent = start_odd_game(answer)
    seen = agent.wait_for(lambda status: status["readyError"] is not None and "refused" not in status["readyError"])
    assert words in seen["readyError"]
    assert (seen["state"], seen["ready"], seen["processRunning"], seen["crashCount"]) == ("running", False, True, 0)
    (game,) = psutil.Process(agent.process.pid).children()
    players = agent.http.get("/game/players")
    assert (players.status_code, words in players.json()["error"]) == (503, True)

    (agent.root / "server" / "answer").write_bytes(status_packet({"version": {"name": "1", "protocol": 1}}))

    assert agent.wait_ready()["crashCount"] == 0
    assert psutil.Process(agent.process.pid).children() == [game]


@pytest.mark.parametrize(
    ("players", "told"),
    [
        ([1], {"online": 0, "max": 0, "players": []}),
        ({"online": "3", "max": True, "sample": {"a": 1}}, {"online": 0, "max": 0, "players": []}),
        (
            {"online": 2, "max": 9, "sample": ["x", {"name": 7}, {"name": "A" * 1000}, {"name": "b"}]},
            {"online": 2, "max": 9, "players": ["A" * 64, "b"]},
        ),
        ({"online": 5, "max": 9, "sample": [{"name": "c"}] * 5000}, {"online": 5, "max": 9, "players": ["c"] * 1000}),
        ({"online": 10**4000, "max": -1}, {"online": 0, "max": 0, "players": []}),
    ],
    ids=["list", "other types", "names", "many", "numbers"],
)
def test_case_b10_odd_players_are_told_as_far_as_they_make_sense(
    start_odd_game: OddGame, players: object, told: dict[str, Any]
) -> None:
    agent = start_odd_game(status_packet({"players": players}))
    agent.wait_ready()
    assert agent.http.get("/game/players").json() == told


def test_case_b10_odd_console_costs_neither_memory_nor_the_status(start_odd_game: OddGame) -> None:
    """A line without an end, and bytes that are no UTF-8."""
    agent = start_odd_game(status_packet({}), console=b"\xff\xfe\n" + b"x" * 40_000_000)
    agent.wait_ready()
    assert psutil.Process(agent.process.pid).memory_info().rss < 40_000_000
    agent.http.post("/stop")
    agent.wait_for(lambda status: status["state"] == "idle")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"container_type": ["game"]}, "container_type is neither game nor dev"),
        ({"env": {"A": json.loads("[" * 200 + "]" * 200)}}, "the payload is nested deeper than 32 levels"),
        ({"world": "a\ud800"}, "world contains control characters"),
        ({"env": {"A": "a\0"}}, "env has a name or a value that no environment can hold"),
        ({"env": {"A\ud800": "a"}}, "env has a name or a value that no environment can hold"),
        ({"env": {"A=": "a"}}, "env has a name or a value that no environment can hold"),
        ({**DEV, "ports": 7}, "ports is not a list"),
    ],
)
def test_case_b10_odd_payload_is_refused_with_a_sentence(
    start_agent: StartAgent, change: dict[str, Any], reason: str
) -> None:
    agent = start_agent()
    answer = agent.http.post("/config", content=json.dumps({**GAME, **change}))
    assert (answer.status_code, answer.json()["error"]) == (422, reason)
    assert agent.configure(GAME).status_code == 202
    agent.wait_ready()


# Clients that do not behave

TOKEN_HEADER = {"Authorization": "Bearer s3cret"}
MOST_THREADS = 64 + 8
HALF_REQUESTS = {
    "nothing": b"",
    "half a line": b"POST /con",
    "half a head": b"POST /config HTTP/1.1\r\nHost: agent\r\n",
    "half a body": b"POST /config HTTP/1.1\r\nHost: agent\r\nContent-Length: 60000\r\n\r\n{",
    "wrong token": b"POST /config HTTP/1.1\r\nAuthorization: Bearer s3cre\r\nContent-Length: 60000\r\n\r\n{",
    "chunks": b"POST /config HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
    "no http": b"\x16\x03\x01\x02\x00\x01\x00" + b"\xff" * 60,
}
WITH_TOKEN = b"POST /config HTTP/1.1\r\nAuthorization: Bearer s3cret\r\nContent-Length: 60000\r\n\r\n{"


@pytest.fixture
def guarded(start_agent: StartAgent, tmp_path: Path) -> Agent:
    """An agent that wants a token, and a client that sends it."""
    (tmp_path / "token").write_text("s3cret\n")
    return start_agent("--token-file", str(tmp_path / "token"), headers=TOKEN_HEADER)


@pytest.fixture
def flood() -> Iterator[Callable[..., list[socket.socket]]]:
    """Opens connections that each send the same bytes and then stay; from one address or from many."""
    opened: list[socket.socket] = []

    def send(agent: Agent, count: int, sent: bytes, sources: int = 1) -> list[socket.socket]:
        for number in range(count):
            source = (f"127.252.0.{1 + number % sources}", 0)
            opened.append(socket.create_connection((agent.address, 18888), timeout=PATIENCE, source_address=source))
            with contextlib.suppress(OSError):  # it made room for others already
                opened[-1].sendall(sent)
        return opened[-count:]

    yield send
    for connection in opened:
        connection.close()


def unread(agent: Agent) -> int:
    """Bytes that clients have sent to the agent and that it has not read (proc_net_tcp.txt of the kernel)."""
    local = f"{int.from_bytes(socket.inet_aton(agent.address), 'little'):08X}:{18888:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4].partition(":")[2], 16) for row in rows if row[1] == local and row[3] == "01")


@pytest.mark.parametrize("sent", HALF_REQUESTS.values(), ids=HALF_REQUESTS)
def test_case_c10_half_requests_cost_few_threads_and_keep_nobody_out(
    guarded: Agent, flood: Callable[..., list[socket.socket]], sent: bytes
) -> None:
    count = 1500 if sent == HALF_REQUESTS["half a head"] else 150
    flood(guarded, count, sent, 1)
    flood(guarded, count, sent, 200)
    process = psutil.Process(guarded.process.pid)
    assert process.num_threads() <= MOST_THREADS
    assert process.memory_info().rss < 50_000_000
    for _ in range(3):
        assert httpx.get(f"{guarded.http.base_url}/status", headers=TOKEN_HEADER, timeout=5).status_code == 200
    assert guarded.configure(GAME).status_code == 202
    guarded.wait_ready()


def test_case_c10_flood_does_not_end_a_call_that_waits(
    guarded: Agent, flood: Callable[..., list[socket.socket]]
) -> None:
    idle = guarded.status()
    request = f"GET /status?wait=30&since={idle['revision']} HTTP/1.1\r\nAuthorization: Bearer s3cret\r\n\r\n"
    (waiting,) = flood(guarded, 1, request.encode())
    crowd = flood(guarded, 300, HALF_REQUESTS["half a head"], 200)
    assert first_line(crowd[0]) == b"", "the oldest of the crowd made room"
    guarded.configure(GAME)
    assert first_line(waiting) == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"], ids=["plain", "expect"])
@pytest.mark.parametrize("size", [5, 60_000, 500_000, 10**12])
def test_case_c10_token_is_asked_for_before_the_body(guarded: Agent, size: int, expect: str) -> None:
    with socket.create_connection((guarded.address, 18888), timeout=1.5) as client:
        client.sendall(f"POST /config HTTP/1.1\r\nHost: agent\r\n{expect}Content-Length: {size}\r\n\r\n".encode())
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"Connection: close" in answer


def test_case_c10_expected_body_is_asked_for_with_the_token(guarded: Agent) -> None:
    with socket.create_connection((guarded.address, 18888), timeout=PATIENCE) as client:
        head = "Authorization: Bearer s3cret\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        client.sendall(f"POST /config HTTP/1.1\r\n{head}".encode())
        answer = client.makefile("rb")
        assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"
        client.sendall(b"{")
        assert b"HTTP/1.1 400 Bad Request\r\n" in [answer.readline(), answer.readline()]


def test_case_c10_slow_clients_are_closed_after_seconds(
    guarded: Agent, flood: Callable[..., list[socket.socket]]
) -> None:
    """Each sends one byte more every now and then, which would renew a limit between two bytes."""
    requests = [*HALF_REQUESTS.values(), WITH_TOKEN]
    began = time.monotonic()
    still_open = [connection for sent in requests for connection in flood(guarded, 1, sent)]
    for connection in still_open:
        connection.settimeout(0.05)
    while still_open:
        assert time.monotonic() - began < 20, f"{len(still_open)} are still open"
        still_open = [connection for connection in still_open if stays_open(connection)]
    wait_until(lambda: psutil.Process(guarded.process.pid).num_threads() <= 2)


def first_line(connection: socket.socket) -> bytes:
    """Nothing when the connection was closed instead."""
    with connection.makefile("rb") as answer:
        try:
            return answer.readline()
        except ConnectionResetError:
            return b""


def stays_open(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"a")
        return connection.recv(4096) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


@pytest.mark.parametrize("line", [b"X-A: " + b"a" * 60_000 + b"\r\n", b"X: 1\r\n" * 9000], ids=["long", "many"])
def test_case_c10_endless_head_is_not_kept(
    guarded: Agent, flood: Callable[..., list[socket.socket]], line: bytes
) -> None:
    flood(guarded, 60, b"GET /health HTTP/1.1\r\n" + line * 90)
    assert psutil.Process(guarded.process.pid).memory_info().rss < 50_000_000
    assert guarded.status()["state"] == "idle"


def test_case_c10_half_a_body_does_nothing(guarded: Agent) -> None:
    guarded.configure(GAME)
    guarded.wait_ready()
    with socket.create_connection((guarded.address, 18888), timeout=PATIENCE) as client:
        client.sendall(b"POST /stop HTTP/1.1\r\nAuthorization: Bearer s3cret\r\nContent-Length: 9\r\n\r\n{}")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(4096) == b""
    assert guarded.status()["state"] == "running"


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "+5", "1_0", " ", "\u00b2"])
def test_case_c10_length_that_is_none_is_refused(guarded: Agent, length: str) -> None:
    with socket.create_connection((guarded.address, 18888), timeout=PATIENCE) as client:
        head = f"POST /stop HTTP/1.1\r\nAuthorization: Bearer s3cret\r\nContent-Length: {length}\r\n\r\n"
        client.sendall(head.encode("latin-1"))
        assert client.makefile("rb").readline().startswith(b"HTTP/1.1 413 ")


def test_case_c10_strangers_write_nothing_into_the_journal(
    guarded: Agent, flood: Callable[..., list[socket.socket]]
) -> None:
    for sent in HALF_REQUESTS.values():
        for connection in flood(guarded, 5, sent):
            connection.close()
    httpx.post(f"{guarded.http.base_url}/stop")
    guarded.http.post("/stop")
    wait_until(lambda: psutil.Process(guarded.process.pid).num_threads() <= 2)
    listens, stop = guarded.journal.read_text().splitlines()
    assert "listens" in listens
    assert stop == "127.0.0.1 POST '/stop' 204"


def test_case_c10_agent_that_answers_as_many_as_it_can_answers_others_afterwards(
    guarded: Agent, flood: Callable[..., list[socket.socket]]
) -> None:
    revision = guarded.status()["revision"]
    guarded.http.close()
    request = f"GET /status?wait=3&since={revision} HTTP/1.1\r\nAuthorization: Bearer s3cret\r\n\r\n"
    held = flood(guarded, 64, request.encode())
    wait_until(lambda: not unread(guarded))  # a thread that the machine holds up has not seen its request yet
    answers = [first_line(connection) for connection in [*held, *flood(guarded, 6, request.encode())]]
    assert answers[:64] == [b"HTTP/1.1 200 OK\r\n"] * 64
    assert set(answers[64:]) <= {b"HTTP/1.1 200 OK\r\n", b""}
    assert httpx.get(f"{guarded.http.base_url}/status", headers=TOKEN_HEADER).status_code == 200


# Programs of another user

StartIsolated = Callable[..., tuple[Agent, Path]]


@pytest.fixture
def start_isolated(start_agent: StartAgent, artifacts: Path, tmp_path: Path) -> Iterator[StartIsolated]:
    """Starts an agent whose programs are started over a socket, as systemd does it; gives their root, too.

    A starter is killed before the next one starts, as the unit's ExecStartPre does it."""
    root, place, starters = tmp_path / "workload", str(tmp_path / "starter.sock"), list[subprocess.Popen[bytes]]()
    root.mkdir()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(place)
    listener.listen()
    places = {"--artifacts": str(artifacts)}

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                for starter in starters:
                    kill_unit(starter)
                command = [sys.executable, "-IS", str(AGENT), "--starter", "--root", str(root)]
                with connection:
                    command += [part for option in places.items() for part in option]
                    starters.append(subprocess.Popen(command, stdin=connection.fileno(), start_new_session=True))
                threading.Thread(target=kill_rest, args=(starters[-1],)).start()

    def start(*options: str, looking: Path = artifacts) -> tuple[Agent, Path]:
        places["--artifacts"] = str(looking)
        return start_agent("--artifacts", str(looking), "--workload-socket", place, *options), root

    thread = threading.Thread(target=accept)
    thread.start()
    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for starter in starters:
        kill_unit(starter)


def kill_unit(starter: subprocess.Popen[bytes]) -> None:
    """Kill a starter that runs, and then what it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        rest = psutil.Process(starter.pid).children(recursive=True)
        starter.kill()
        starter.wait()
        for process in rest:
            process.kill()


def kill_rest(starter: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a starter's session once it has ended, as systemd does with a unit's processes."""
    starter.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(starter.pid, signal.SIGKILL)


def starter_children() -> list[psutil.Process]:
    """What the starters of this test have started. One may end meanwhile."""
    found: list[psutil.Process] = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            found += process.children(recursive=True) if "--starter" in process.cmdline() else []
    return found


def test_case_c11_program_is_started_by_another_and_the_agent_touches_nothing_of_it(
    start_isolated: StartIsolated,
) -> None:
    agent, root = start_isolated()
    assert agent.configure({**GAME, "env": {"EULA": "true", "WORDS": "wörld 世界 🌍" * 1000}}).status_code == 202
    assert agent.wait_ready()["isolated"] is True
    assert psutil.Process(agent.process.pid).children() == []
    (game,) = starter_children()
    assert game.cwd() == str(root / "server")
    assert sorted(path.name for path in agent.root.iterdir()) == ["state.json"]
    assert (root / "server" / "eula.txt").read_text() == "eula=true\n"

    game.kill()
    status = agent.wait_for(lambda status: status["state"] == "crashed")
    assert (status["lastCrashExitCode"], status["processRunning"]) == (-signal.SIGKILL, False)


DAEMON = """#!/bin/sh
(setsid sleep 1000 &)
read line
echo "$line" > lines
"""


def test_case_c11_stop_leaves_no_process_of_the_workload(start_isolated: StartIsolated, tmp_path: Path) -> None:
    looking = tmp_path / "jars"
    looking.mkdir()
    (looking / "daemon").write_text(DAEMON)
    (looking / "daemon").chmod(0o755)
    agent, root = start_isolated(looking=looking)
    agent.configure({**GAME, "artifact_path": "daemon"})
    wait_until(lambda: "sleep" in [process.name() for process in starter_children()])
    started = starter_children()
    assert agent.http.post("/stop").status_code == 204
    assert (root / "server" / "lines").read_text() == "stop\n", "it was asked first"
    assert not [process for process in started if process.is_running()]


DEFIANT = """#!/bin/sh
trap "" TERM
(setsid sleep 1000 &)
kill -STOP $PPID
sleep 1000
"""
KILL = """
import json, pathlib, sys
import hostwright_agent as agent
place, root = sys.argv[1], pathlib.Path(sys.argv[2])
program = agent.RemoteProgram(place, agent.Workspace(root, root, "127.0.0.1", json.loads(sys.argv[3])), "start")
sys.stdin.readline()
program.kill()
print(program.wait(0))
"""


def test_case_c11_program_that_stops_its_starter_is_killed_all_the_same(
    start_isolated: StartIsolated, tmp_path: Path
) -> None:
    (tmp_path / "defiant").write_text(DEFIANT)
    (tmp_path / "defiant").chmod(0o755)
    start_isolated(looking=tmp_path)
    config = {**GAME, "artifact_path": "defiant"}
    command = [sys.executable, "-c", KILL, str(tmp_path / "starter.sock"), str(tmp_path), json.dumps(config)]
    with subprocess.Popen(
        command, cwd=AGENT.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as killing:
        wait_until(lambda: [process.name() for process in starter_children()].count("sleep") == 2)
        started = starter_children()
        answer, _ = killing.communicate("\n", PATIENCE)
    assert answer == f"{-signal.SIGKILL}\n"
    assert len(started) == 3
    wait_until(lambda: not [process for process in started if process.is_running()])


def test_case_c11_program_ends_with_an_agent_that_was_killed(start_isolated: StartIsolated, tmp_path: Path) -> None:
    (tmp_path / "deaf").write_text("#!/bin/sh\nexec sleep 1000\n")
    (tmp_path / "deaf").chmod(0o755)
    agent, _ = start_isolated(looking=tmp_path)
    agent.configure({**GAME, "artifact_path": "deaf"})
    wait_until(lambda: [process.name() for process in starter_children()] == ["sleep"])
    (game,) = starter_children()
    agent.process.kill()
    wait_until(lambda: not game.is_running())


def test_case_c11_what_cannot_be_installed_is_told_in_the_same_words(start_isolated: StartIsolated) -> None:
    agent, _ = start_isolated()
    agent.configure({**GAME, "artifact_path": "minecraft/vanilla/0.0/server.jar"})
    status = agent.wait_for(lambda status: status["state"] == "error")
    assert status["error"] == "artifact minecraft/vanilla/0.0/server.jar is not in this template"
    agent.configure({**DEV, "enable_code_server": False})
    assert agent.wait_ready()["readySource"] == "runtime"


def test_case_c11_stop_ends_an_installation_with_its_installer(start_isolated: StartIsolated, tmp_path: Path) -> None:
    (tmp_path / "neoforge-installer.jar").write_text("no program, so that it is given to Java")
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\nexec sleep 1000\n")
    java.chmod(0o755)
    with tarfile.open(tmp_path / "jre.tar.gz", "w:gz") as archive:
        archive.add(java.parent, "jre/bin")
    agent, _ = start_isolated(looking=tmp_path)
    agent.configure(
        {**GAME, "artifact_path": "neoforge-installer.jar", "java_path": "jre.tar.gz", "env": {"EULA": "true"}}
    )
    wait_until(lambda: [process.name() for process in starter_children()] == ["sleep"])
    (installer,) = starter_children()

    began = time.monotonic()
    assert agent.http.post("/stop").status_code == 204
    assert time.monotonic() - began < 3
    wait_until(lambda: not installer.is_running())
    assert agent.status()["state"] == "idle"
    assert json.loads((agent.root / "state.json").read_text())["installed"] is False


def test_case_c11_agent_whose_starter_is_missing_says_so(start_agent: StartAgent, tmp_path: Path) -> None:
    agent = start_agent("--workload-socket", str(tmp_path / "nowhere"))
    agent.configure(GAME)
    assert "FileNotFoundError" in agent.wait_for(lambda status: status["state"] == "error")["error"]
