"""The production inventory against the lab: every provisioned container is a host that a command reaches, no other."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.settings import PROJECT_DIR
from tests.support import containers
from tests.support.containers import Stage
from tests.support.fix_lab import Lab, running_lab
from tests.support.production import copy_example, fill_in

GAME, DEV, STOPPED, FOREIGN = 5101, 6101, 5102, 5103


@dataclass(frozen=True)
class Site:
    """A filled-in copy of the example, and how commands are told of it."""

    lab: Lab
    inventory: Path
    environment: dict[str, str]

    def ansible(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of Ansible's about the containers."""
        return subprocess.run(
            [str(Path(sys.executable).parent / command), "-i", f"{self.inventory}/containers.proxmox.yml", *arguments],
            cwd=PROJECT_DIR, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def listed(self) -> dict[str, Any]:
        done = self.ansible("ansible-inventory", "--list")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two containers of ours that run, one that is stopped, and one that somebody else made."""
    home = tmp_path_factory.mktemp("production")
    with running_lab(home, speed=0) as lab:
        inventory = copy_example(home / "inventory")
        fill_in(inventory, lab.site)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HOSTWRIGHT_")} | {
            "ANSIBLE_CONFIG": str(PROJECT_DIR / "ansible.cfg"),
            "HOSTWRIGHT_INVENTORY": str(inventory),
            "HOSTWRIGHT_SECRETS_FILE": str(home / "lab" / "secrets.json"),
            "HOSTWRIGHT_STATE_DIR": str(home),
            "REQUESTS_CA_BUNDLE": str(lab.ca_file),
        }
        containers.make(lab, GAME)
        containers.make(lab, DEV, ctype="dev")
        containers.make(lab, STOPPED, Stage.CONFIGURED)
        lab.place_foreign(FOREIGN, "mc-vanilla-theirs")
        yield Site(lab, inventory, environment)


def test_lists_exactly_the_provisioned_containers_with_their_addresses(site: Site) -> None:
    addresses = {one["hostname"]: one["address"] for one in site.lab.inventory()["containers"]}
    listed = site.listed()
    hosts = listed["_meta"]["hostvars"]
    running = {f"mc-vanilla-{GAME}", f"dev-{DEV}"}
    assert set(hosts) == {*running, f"mc-vanilla-{STOPPED}"}
    assert {name: text(hosts[name]["ansible_host"]) for name in running} == {name: addresses[name] for name in running}
    assert text(hosts[f"mc-vanilla-{STOPPED}"]["ansible_host"]) == f"mc-vanilla-{STOPPED}"


def test_groups_containers_by_type_and_node(site: Site) -> None:
    listed = site.listed()
    groups = {name: set(listed[name]["hosts"]) for name in ("containers", "game", "dev", "node_pve1")}
    games = {f"mc-vanilla-{GAME}", f"mc-vanilla-{STOPPED}"}
    every = {*games, f"dev-{DEV}"}
    assert groups == {"containers": every, "game": games, "dev": {f"dev-{DEV}"}, "node_pve1": every}


def test_reaches_the_agent_of_every_running_container(site: Site) -> None:
    done = site.ansible(
        "ansible", "containers:&proxmox_all_running", "-m", "agent_read", "-a",
        "address={{ ansible_host }} port={{ hostwright_agent.port }} secret={{ hostwright_agent.secret }} "
        "master_secret={{ hostwright_agent.master_secret }} server_id={{ server_id }}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("state: idle") == 2, done.stdout
    assert not [value for value in site.lab.secrets.values() if value in done.stdout + done.stderr]


def test_changes_nothing_and_shows_no_secret(site: Site) -> None:
    before = site.lab.history()
    shown = json.dumps(site.listed())
    assert site.lab.history() == before
    assert not [name for name, value in site.lab.secrets.items() if value in shown]


def test_says_what_to_export_when_it_is_not_told_where_the_site_is(site: Site) -> None:
    environment = {name: value for name, value in site.environment.items() if name != "HOSTWRIGHT_INVENTORY"}
    done = replace(site, environment=environment).ansible("ansible-inventory", "--list")
    assert done.returncode != 0
    assert "export HOSTWRIGHT_INVENTORY" in done.stderr


def test_check_is_content_with_a_site_that_is_filled_in(site: Site) -> None:
    done = hostwright(site.environment, "check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "inventory, catalogue and secrets are complete" in done.stdout


def test_check_and_worker_name_what_is_not_filled_in(site: Site, tmp_path: Path) -> None:
    environment = site.environment | {"HOSTWRIGHT_INVENTORY": str(copy_example(tmp_path / "inventory"))}
    for command in ("check", "worker"):
        done = hostwright(environment, command)
        assert done.returncode == 1
        assert "hostwright_proxmox.host still says CHANGE_ME" in done.stderr


def hostwright(environment: dict[str, str], command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", command],
        cwd=PROJECT_DIR, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def text(value: Any) -> str:
    """What came from outside is marked unsafe in the list."""
    return str(value["__ansible_unsafe"] if isinstance(value, dict) else value)
