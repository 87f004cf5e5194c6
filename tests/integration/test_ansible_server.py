"""Runs by the server of Ansible say and do what ansible-playbook itself does, and nothing of it is left."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.ansible_server import run_playbook
from tests.support.fix_lab_proxmox import wait_until
from tests.support.playbook import ROOT, environment

PAYLOAD = "playbooks/phases/build_agent_payload.yml"
ENDINGS = {"good": ("-e", "vmid=5900"), "failed": ("-e", "vmid=5900", "-e", "version=9.9"), "refused": ("--nonsense",)}
STARTER = """
import os, signal
from tests.support.ansible_server import AnsibleServer
AnsibleServer(os.environ)
signal.pause()
"""


@pytest.mark.parametrize("ending", ENDINGS)
def test_run_says_and_ends_as_ansible_playbook_does(tmp_path: Path, ending: str) -> None:
    arguments = [PAYLOAD, *ENDINGS[ending]]
    program = str(Path(sys.executable).parent / "ansible-playbook")
    own = environment(tmp_path) | {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}
    alone = subprocess.run(
        [program, *arguments], env=own, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    served = run_playbook(arguments, own, ROOT)
    assert (served.returncode, served.stdout, served.stderr) == (alone.returncode, alone.stdout, alone.stderr)
    assert bool(alone.returncode) is (ending != "good")


def test_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER], cwd=ROOT, env=environment(tmp_path)) as starter:
        server = wait_until(lambda: psutil.Process(starter.pid).children())[0]
        starter.kill()
    wait_until(lambda: not server.is_running())
