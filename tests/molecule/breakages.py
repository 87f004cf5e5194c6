"""The breakages that each role's scenario must notice. A breakage is made in a copy of the role."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.molecule.scenarios import ROOT


@dataclass(frozen=True)
class Breakage:
    """`new` replaces `old`, which is in `file` exactly once. Then `task` must fail in molecule's `step`."""

    scenario: str
    does: str
    """What is broken, in the words of docs/testing.md."""
    file: str
    old: str
    new: str
    step: str
    task: str


def _of_phase(role: str, does: str, old: str, new: str, step: str, task: str) -> Breakage:
    return Breakage(role, does, f"roles/{role}/tasks/main.yml", old, new, step, task)


BREAKAGES = (
    Breakage(
        "install_agent",
        "the agent is not started at boot",
        "roles/install_agent/tasks/main.yml",
        "enabled: true",
        "enabled: false",
        "verify",
        "It runs, and at every boot",
    ),
    Breakage(
        "install_agent",
        "the agent has a right of root's",
        "agent/hostwright-agent.service",
        "CapabilityBoundingSet=\n",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE\n",
        "verify",
        "It is a user of its own without any right",
    ),
    Breakage(
        "install_agent",
        "the token is written, but nothing tells the agent",
        "roles/install_agent/tasks/main.yml",
        "OPTIONS=--token-file /etc/hostwright-agent/token",
        "OPTIONS=",
        "verify",
        "Call it without the token",
    ),
    Breakage(
        "install_agent",
        "the agent stays dead",
        "agent/hostwright-agent.service",
        "Restart=on-failure",
        "Restart=no",
        "verify",
        "It comes back by itself",
    ),
    Breakage(
        "install_agent",
        "what the agent starts is of the agent's own user",
        "agent/hostwright-workload@.service",
        "User=hostwright-workload",
        "User=hostwright-agent",
        "verify",
        "Look at the processes of its user",
    ),
    Breakage(
        "install_agent",
        "a start leaves the starters before it alone",
        "agent/hostwright-workload@.service",
        "ExecStartPre=-+/bin/systemctl kill --kill-who=main --signal=SIGKILL hostwright-workload@*.service\n",
        "",
        "verify",
        "Nothing of that one is left either",
    ),
    Breakage(
        "install_agent",
        "a file is written anew each time",
        "roles/install_agent/tasks/main.yml",
        'content: "OPTIONS=',
        'content: "# {{ now() }}\\nOPTIONS=',
        "idempotence",
        "install_agent : Tell it about the token",
    ),
    Breakage(
        "install_agent",
        "check mode needs what only a real run makes",
        "roles/install_agent/tasks/main.yml",
        "  # A first run in check mode has made no unit.\n  when: not ansible_check_mode\n",
        "",
        "check",
        "install_agent : Start it at every boot",
    ),
    Breakage(
        "install_agent",
        "a directory too many is made",
        "roles/install_agent/tasks/main.yml",
        "/srv/hostwright-artifacts]",
        "/srv/hostwright-artifacts, /opt/agent]",
        "verify",
        "Nothing else in the container has changed",
    ),
    Breakage(
        "seal_template",
        "SSH host keys stay",
        "roles/seal_template/tasks/main.yml",
        'patterns: "ssh_host_*_key*"',
        'patterns: "ssh_host_ed25519_key*"',
        "verify",
        "Look at what must not be there",
    ),
    Breakage(
        "seal_template",
        "no clone makes keys of its own",
        "roles/seal_template/tasks/main.yml",
        "enabled: true",
        "enabled: false",
        "verify",
        "Look at the keys of SSH",
    ),
    Breakage(
        "template",
        "the machine id stays",
        "roles/seal_template/tasks/main.yml",
        "dest: /etc/machine-id",
        "dest: /etc/machine-id.old",
        "verify",
        "Look at what must not be there",
    ),
    _of_phase(
        "clone_container",
        "the clone does not carry the instance's mark",
        'server_id: "{{ clone_container_server_id }}"',
        "server_id: nobody",
        "verify",
        "The clone is there, ours and at rest",
    ),
    _of_phase(
        "configure_container",
        "the memory is not the order's",
        'memory_mib: "{{ configure_container_memory_mib }}"',
        "memory_mib: 512",
        "verify",
        "It is what the order says",
    ),
    _of_phase(
        "start_container",
        "it does nothing",
        "- name: Start the container\n",
        "- name: Start\n  when: false\n",
        "verify",
        "Ask the agent",
    ),
    _of_phase(
        "wait_for_ip",
        "it keeps the address for itself",
        "register: wait_for_ip_result\n  until: wait_for_ip_result.done",
        "register: found\n  until: found.done",
        "verify",
        "The phases after it get the container's own address",
    ),
    Breakage(
        "build_agent_payload",
        "the world is always the same one",
        "roles/build_agent_payload/vars/main.yml",
        'world: "{{ build_agent_payload_world }}"',
        "world: world",
        "verify",
        "What the customer typed stays as it was typed",
    ),
    _of_phase(
        "send_agent_config",
        "the agent is told of other memory",
        '"{{ send_agent_config_payload }}"',
        "\"{{ send_agent_config_payload | combine({'memory_mb': 512}) }}\"",
        "verify",
        "It has the configuration of this order and no other",
    ),
    _of_phase(
        "wait_for_agent_terminal_state",
        "it does not wait",
        "- name: Wait until the instance is ready\n",
        "- name: Wait\n  when: false\n",
        "converge",
        "It is ready at once",
    ),
    _of_phase(
        "publish_edge",
        "it takes a game server for a dev container",
        'when: publish_edge_ctype == "game"',
        'when: publish_edge_ctype == "dev"',
        "verify",
        "Both zones lead to the proxy, which leads to the container",
    ),
    Breakage(
        "unpublish_edge",
        "the proxy is forgotten",
        "roles/unpublish_edge/vars/main.yml",
        "__unpublish_edge_plan.publishing | default([]) }}",
        "__unpublish_edge_plan.publishing | default([]) | rejectattr('place', 'equalto', 'proxy') }}",
        "verify",
        "Nothing leads to the container any more",
    ),
    _of_phase(
        "stop_container",
        "it does nothing",
        "- name: Stop the container\n",
        "- name: Stop\n  when: false\n",
        "verify",
        "It is there, stopped, and nothing of it runs",
    ),
    _of_phase(
        "delete_container",
        "it does nothing",
        "- name: Delete the container\n",
        "- name: Delete\n  when: false\n",
        "verify",
        "It is gone, the others are not",
    ),
)


@contextmanager
def apply_to_copy(breakage: Breakage) -> Iterator[Path]:
    """Copy all roles with this one breakage; gives the directory for ANSIBLE_ROLES_PATH."""
    with tempfile.TemporaryDirectory(prefix="hostwright-broken-") as directory:
        copy = Path(directory)
        for part in ("roles", "agent"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / breakage.file
        file.write_text(break_file(breakage))
        yield copy / "roles"


def break_file(breakage: Breakage) -> str:
    """The file's text after the breakage. Raises ValueError unless `old` is there exactly once."""
    text = (ROOT / breakage.file).read_text()
    if text.count(breakage.old) != 1:
        raise ValueError(f"{breakage.file} has {breakage.old!r} {text.count(breakage.old)} times, not once")
    return text.replace(breakage.old, breakage.new)
