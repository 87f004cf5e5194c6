"""The phases that talk to the agent, as real playbooks against real agents in the lab's containers."""

import hmac
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.chaos.site import CLOCK
from tests.support import containers
from tests.support.edge import other_secrets
from tests.support.fix_lab import Lab
from tests.support.fix_lab_proxmox import wait_until
from tests.support.playbook import CONFIGURE, ROOT, Run, environment, play, unsafe
from tests.support.relay import relay

INJECTION = "{{ lookup('pipe', 'touch pwned') }}"
SEND, WAIT = "Send the configuration", "Wait until the instance is ready"
Start = Callable[..., dict[str, Any]]


@pytest.fixture
def start(lab: Lab) -> Iterator[Start]:
    """Starts a fresh container and gives its variables; all are gone afterwards."""
    started: list[dict[str, Any]] = []

    def make(vmid: int, **more: Any) -> dict[str, Any]:
        order = {"vmid": vmid, **more}
        started.append(order)
        return order | {"address": containers.make(lab, vmid, ctype=more.get("ctype", "game"))}

    yield make
    for order in started:
        containers.remove(lab, order["vmid"])
    lab.clear_faults()


def configure(lab: Lab, order: dict[str, Any], *arguments: str, **more: Any) -> Run:
    """From the payload to the terminal state."""
    return play(CONFIGURE, lab.state_dir, order | more, arguments=arguments)


def agent_status(lab: Lab, order: dict[str, Any]) -> dict[str, Any]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update(containers.agent_headers(lab, containers.owner(order["vmid"])))
        answer = session.get(f"http://{order['address']}:18888/status", timeout=10)
    status: dict[str, Any] = answer.json()
    return status


def payload(lab: Lab, **order: Any) -> dict[str, Any]:
    run = play("phases/build_agent_payload", lab.state_dir, {"vmid": 5900} | order).ok()
    built: dict[str, Any] = run.result("Build the payload")["ansible_facts"]["build_agent_payload_result"]
    return built


def test_payload_of_a_game_has_exactly_the_contracts_keys(lab: Lab) -> None:
    assert payload(lab, world="w", memory_mib=1024) == {
        "vmid": 5900,
        "container_type": "game",
        "game": "minecraft",
        "variant": "vanilla",
        "version": "1.21.7",
        "world": "w",
        "ports": [25565],
        "artifact_path": "minecraft/vanilla/1.21.7/server.jar",
        "java_path": "java/21/OpenJDK21.tar.gz",
        "memory_mb": 1024,
    }


def test_payload_of_another_game_says_how_it_is_asked_and_has_no_java(lab: Lab) -> None:
    assert payload(lab, game="xonotic", variant="stock", version="0.8.6") == {
        "vmid": 5900,
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
    terraria = payload(lab, game="terraria", variant="stock", version="1.4.4.9")
    assert (terraria["probe"], "java_path" in terraria) == ({"protocol": "tcp"}, False)


def test_payload_of_a_dev_container_has_exactly_the_contracts_keys(lab: Lab) -> None:
    built = payload(lab, vmid=6900, ctype="dev", runtime="go", version="1.25", env={"A": "b"}, callback_url="http://c/")
    assert built == {
        "vmid": 6900,
        "container_type": "dev",
        "runtime": "go",
        "version": "1.25",
        "memory_mb": 2048,
        "enable_code_server": True,
        "code_server_port": 6000,
        "env": {"A": "b"},
        "callback_url": "http://c/",
    }


@pytest.mark.parametrize(
    ("version", "java"), [("1.8.9", 8), ("1.16.4", 8), ("1.20.4", 17), ("1.20.5", 21), ("26.1", 25)]
)
def test_pain_7_java_is_chosen_by_the_catalogues_data(lab: Lab, version: str, java: int) -> None:
    assert payload(lab, version=version)["java_path"] == f"java/{java}/OpenJDK{java}.tar.gz"


def test_payload_of_an_unknown_version_fails_with_its_name(lab: Lab) -> None:
    run = play("phases/build_agent_payload", lab.state_dir, {"vmid": 5900, "version": "9.9"})
    assert run.code != 0
    assert "version 9.9 is not in the catalogue" in run.output


def test_agent_gets_its_configuration_and_becomes_ready_and_twice_changes_nothing(lab: Lab, start: Start) -> None:
    order = start(5901)
    assert configure(lab, order).ok().changed == [SEND]
    assert agent_status(lab, order)["ready"] is True
    revision = agent_status(lab, order)["revision"]
    again = configure(lab, order).ok()
    assert again.changed == []
    assert agent_status(lab, order)["revision"] == revision, "the agent was disturbed"
    assert not any(secret in again.output for secret in lab.secrets.values())


def test_running_agent_is_not_given_another_configuration(lab: Lab, start: Start) -> None:
    order = start(5902)
    configure(lab, order).ok()
    before = agent_status(lab, order)
    for arguments in ((), ("--check",)):
        run = configure(lab, order, *arguments, world="other")
        assert run.failure["code"] == "agent-rejected"
        assert "already runs with another configuration (other world)" in run.failure["msg"]
    after = agent_status(lab, order)
    assert (after["revision"], after["config"]) == (before["revision"], before["config"])


def test_foreign_container_is_not_sent_a_configuration(lab: Lab, start: Start) -> None:
    order = start(5914)
    run = configure(lab, order, server_id="somebody-else")
    assert run.failure["code"] == "not-ours"
    assert agent_status(lab, order)["config"] is None


def test_container_that_is_missing_is_not_ours_and_nothing_is_sent(lab: Lab, start: Start) -> None:
    # Its VMID is free, and its address is somebody else's by now.
    order = start(5915)
    run = configure(lab, order, vmid=5916)
    assert run.failure["code"] == "not-ours"
    assert "container 5916 does not exist on node" in run.failure["msg"]
    assert agent_status(lab, order)["config"] is None


def test_dev_container_becomes_ready(lab: Lab, start: Start) -> None:
    order = start(6901, ctype="dev", runtime="python", version="3.12")
    configure(lab, order).ok()
    assert agent_status(lab, order)["config"]["runtime"] == "python"
    assert requests.get(f"http://{order['address']}:6000/", timeout=10).ok


def test_strings_of_a_customer_reach_the_agent_literally(lab: Lab, start: Start) -> None:
    order = start(5903)
    texts = {"A": INJECTION, "B": "{{ 7 * 7 }}", "C": "{% raw %}x", "D": "a'b\"c\\d", "E": "wörld 世界"}
    env = {name: unsafe(text) for name, text in texts.items()}
    configure(lab, order, world=unsafe(INJECTION), env=env).ok()
    config = agent_status(lab, order)["config"]
    assert (config["world"], config["env"]) == (INJECTION, texts)
    assert not (ROOT / "pwned").exists()


def test_agent_that_refuses_fails_at_once_with_its_reason(lab: Lab, start: Start) -> None:
    order = start(5904)
    lab.fault(target="agent", behaviour="reject", vmid=5904, message="memory_mb is more than this host has")
    run = configure(lab, order)
    assert run.failure["code"] == "agent-rejected"
    assert run.failure["msg"] == "the agent refuses the configuration: memory_mb is more than this host has"


def test_pain_1_agents_error_ends_the_wait_at_once_with_its_words_and_log_tail(lab: Lab, start: Start) -> None:
    order = start(5905)
    log = ["Downloading server.jar", "curl: (28) time-out"]
    lab.fault(target="agent", behaviour="error", vmid=5905, message="cannot download server.jar", log=log)
    started = time.monotonic()
    run = configure(lab, order, wait_for_agent_terminal_state_timeout=600)
    assert time.monotonic() - started < 60, "seconds, not the whole time-out"
    assert (run.failure["code"], run.failure["msg"]) == ("agent-error", "cannot download server.jar")
    assert run.failure["detail"]["logTail"] == log
    lab.clear_faults()
    assert configure(lab, order).ok().changed == [SEND], "an agent in error is told again"


def test_crash_that_recovers_is_waited_out(lab: Lab, start: Start) -> None:
    order = start(5906)
    lab.fault(target="agent", behaviour="crash", vmid=5906, backoff=[1, 1, 1])
    configure(lab, order).ok()
    status = agent_status(lab, order)
    assert (status["ready"], status["crashCount"]) == (True, 1)


def test_agent_that_never_gets_ready_is_a_time_out_that_says_where(lab: Lab, start: Start) -> None:
    order = start(5907)
    lab.fault(target="agent", behaviour="hang", vmid=5907)
    run = configure(lab, order, wait_for_agent_terminal_state_timeout=3)
    assert run.failure["code"] == "agent-timeout"
    assert "installing" in run.failure["msg"]


def test_busy_agent_with_another_configuration_is_waited_for(lab: Lab, start: Start) -> None:
    order = start(5908)
    lab.fault(target="agent", behaviour="hang", vmid=5908, times=1)
    configure(lab, order, wait_for_agent_terminal_state_timeout=1)
    run = configure(lab, order, world="other", send_agent_config_timeout=3)
    assert run.failure["code"] == "agent-timeout"
    assert "busy" in run.failure["msg"]


def test_agent_that_dies_is_unreachable(lab: Lab, start: Start) -> None:
    order = start(5909)
    lab.fault(target="agent", behaviour="die", vmid=5909)
    run = configure(lab, order, wait_for_agent_terminal_state_timeout=3)
    assert run.failure["code"] == "agent-unreachable"
    assert order["address"] in run.failure["msg"]


@pytest.mark.parametrize(
    ("role", "phases"), [("send_agent_config", CONFIGURE[:2]), ("wait_for_agent_terminal_state", CONFIGURE[2:])]
)
def test_agent_that_hangs_ends_the_phase_about_its_timeout(
    lab: Lab, start: Start, role: str, phases: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:  # takes connections and says nothing
        asked: list[tuple[float, socket.socket]] = []
        first = threading.Thread(target=lambda: asked.append(_accept(listener)))
        silent = {
            "address": "127.0.0.1",
            "hostwright_agent": {"port": listener.getsockname()[1], "secret": "agent_token"},
        }
        order = start(5914) | silent
        first.start()
        # As a person gives it: on the command line every value is a string.
        run = play(phases, lab.state_dir, order, arguments=("-e", f"{role}_timeout=3"))
        ended = time.monotonic()
        first.join()
    began, connection = asked[0]
    connection.close()
    assert run.failure["code"] == "agent-unreachable"
    assert 2 <= ended - began < 10, "the limit and the grace of one window, from the first question to the end"


def _accept(listener: socket.socket) -> tuple[float, socket.socket]:
    """The next connection, and when it came: what Ansible takes before it is not the role's."""
    connection, _ = listener.accept()
    return time.monotonic(), connection


def test_agent_that_answers_late_is_waited_for(lab: Lab, start: Start) -> None:
    order = start(5910)
    lab.fault(target="agent", behaviour="late", vmid=5910, seconds=2)
    assert configure(lab, order).ok().changed == [SEND]


def test_case_a13_clock_that_jumps_ends_no_wait(lab: Lab, start: Start, tmp_path: Path) -> None:
    order = start(5912)
    configure(lab, order).ok()
    (agent,) = (one["pid"] for one in lab.inventory()["containers"] if one["vmid"] == 5912)
    variables = tmp_path / "order.json"
    variables.write_text(json.dumps(order))
    clock = {"PYTHONPATH": str(CLOCK), "CHAOS_CLOCK_OFFSET": "3600", "CHAOS_CLOCK_FROM": str(time.time() + 4)}
    os.kill(agent, signal.SIGSTOP)
    threading.Timer(8, os.kill, (agent, signal.SIGCONT)).start()
    done = subprocess.run(
        ["ansible-playbook", "playbooks/phases/wait_for_agent_terminal_state.yml", "-e", f"@{variables}"],
        cwd=ROOT, env=environment(lab.state_dir) | clock, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_wrong_agent_token_says_so(lab: Lab, start: Start, tmp_path: Path) -> None:
    order = start(5911)
    wrong = dict.fromkeys(("agent_token", "agent_master_secret"), "planted-wrong-token")
    secrets = other_secrets(lab, tmp_path, **wrong)
    run = configure(lab, order, hostwright_secrets_file=secrets)
    assert run.failure["code"] == "agent-rejected"
    assert "token" in run.failure["msg"]
    assert "planted-wrong-token" not in run.output


def ask(order: dict[str, Any], headers: dict[str, str]) -> int:
    """The status with which an agent answers a call with these headers, once it listens."""

    def call() -> int | None:
        with suppress(requests.ConnectionError):
            return requests.get(f"http://{order['address']}:18888/status", headers=headers, timeout=10).status_code
        return None

    return wait_until(call)


def template_token(lab: Lab) -> dict[str, str]:
    return {"Authorization": f"Bearer {lab.secrets['agent_token']}"}


def test_case_c11_each_server_has_a_token_of_its_own(lab: Lab, start: Start) -> None:
    one, other = start(5921), start(5922)
    tokens = [containers.agent_headers(lab, containers.owner(order["vmid"])) for order in (one, other)]
    assert ask(one, template_token(lab)) == 200, "a fresh agent takes the template's"
    for order in (one, other):
        assert configure(lab, order).ok().changed == [SEND]
    assert [[ask(order, token) for token in tokens] for order in (one, other)] == [[200, 401], [401, 200]]
    assert ask(one, template_token(lab)) == ask(other, template_token(lab)) == 401
    # A container that is made again has an agent that knows nothing.
    containers.remove(lab, 5922)
    again = start(5922)
    assert ask(again, template_token(lab)) == 200
    assert configure(lab, again).ok().changed == [SEND]


def test_case_c11_lost_answer_to_the_first_configuration_is_no_harm(lab: Lab, start: Start) -> None:
    order = start(5923)
    with relay(order["address"], 18888, lost=1) as between:
        through = {"address": "127.0.0.1", "hostwright_agent": lab.site["agent"] | {"port": between.port}}
        configure(lab, order | through).ok()
        assert between.lost == 0
        assert [line for line in between.requests if line.startswith(b"POST")] == [b"POST /config HTTP/1.1"]
    assert ask(order, template_token(lab)) == 401
    assert configure(lab, order).ok().changed == [], "nor to a phase that is resumed"


def test_case_c11_usual_path_has_no_request_more(lab: Lab, start: Start) -> None:
    order = start(5924)
    with relay(order["address"], 18888) as between:
        through = {"address": "127.0.0.1", "hostwright_agent": lab.site["agent"] | {"port": between.port}}
        play(CONFIGURE[:2], lab.state_dir, order | through).ok()
        assert between.requests == [b"GET /status HTTP/1.1", b"POST /config HTTP/1.1"]


def test_case_c11_agent_of_an_old_template_goes_on_with_the_templates_token(lab: Lab, start: Start) -> None:
    order = start(5925)
    with relay(order["address"], 18888, strips=True) as between:
        through = {"address": "127.0.0.1", "hostwright_agent": lab.site["agent"] | {"port": between.port}}
        assert configure(lab, order | through).ok().changed == [SEND]
        assert configure(lab, order | through).ok().changed == []
    assert ask(order, template_token(lab)) == 200
    # A site without the master secret, and a worker of the release before.
    old = {name: value for name, value in lab.site["agent"].items() if name != "master_secret"}
    assert configure(lab, order, hostwright_agent=old).ok().changed == []


def test_case_c11_agents_own_token_is_scrubbed_and_derived_in_one_place(lab: Lab, start: Start) -> None:
    order = start(5926)
    token = containers.agent_headers(lab, containers.owner(5926))["Authorization"].removeprefix("Bearer ")
    purpose = f"agent:{containers.owner(5926)}".encode()
    assert token == hmac.new(lab.secrets["agent_master_secret"].encode(), purpose, "sha256").hexdigest()
    lab.fault(target="agent", behaviour="reject", vmid=5926, message=f"what is {token}?")
    run = configure(lab, order)
    assert run.failure["msg"] == "the agent refuses the configuration: what is ***?"
    assert token not in run.output


def test_case_c11_container_of_another_instance_says_what_to_give(lab: Lab, start: Start) -> None:
    order = start(5927)
    configure(lab, order).ok()
    run = play(CONFIGURE[2], lab.state_dir, order | {"server_id": "another"})
    assert run.failure["code"] == "agent-rejected"
    assert "is server_id its instance" in run.failure["msg"]


def test_check_mode_of_a_whole_new_order_passes(lab: Lab) -> None:
    run = play("provision", lab.state_dir, {"vmid": 5913}, arguments=("--check",)).ok()
    assert SEND in run.changed
    assert not [c for c in lab.inventory()["containers"] if c["vmid"] == 5913]
