"""Which secrets a run's directory holds: those that the site names for its roles, as they are when the run begins."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.play.named_secrets import read_named_secrets
from orchestrator.settings import Settings

SITE: dict[str, Any] = {
    "hostwright_proxmox": {"host": "pve", "node": "pve", "user": "u@pve", "token_name": "t"},
    "hostwright_dns": [{"name": "in", "secret": "technitium_token"}, {"name": "out", "secret": "cloudflare_token"}],
    "hostwright_proxy": {"driver": "zpack-bridge", "secret": "velocity_secret"},
    "hostwright_agent": {"port": 8080},
}  # fmt: skip
NAMED = {"proxmox_token", "technitium_token", "cloudflare_token", "velocity_secret"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "inventory" / "group_vars" / "all").mkdir(parents=True)
    (tmp_path / "inventory" / "hosts.yml").write_text("all: {hosts: {localhost: {ansible_connection: local}}}")
    secrets = tmp_path / "secrets.json"
    secrets.touch(0o600)
    names = {*NAMED, "billing_secret", "agent_token", "agent_master_secret", "a_secret_of_something_else"}
    secrets.write_text(json.dumps({name: f"value of {name}" for name in names}))
    return tmp_path


def secrets_of_a_run(home: Path, site: dict[str, Any]) -> set[str]:
    """The names in the secrets file of a run's directory, on such a site."""
    (home / "inventory" / "group_vars" / "all" / "site.yml").write_text(json.dumps(site))
    settings = Settings(inventory=home / "inventory", secrets_file=home / "secrets.json", state_dir=home)
    return set(read_named_secrets(settings))


def test_case_c6_a_run_gets_only_what_its_roles_name(home: Path) -> None:
    assert secrets_of_a_run(home, SITE) == NAMED
    agent = {"port": 8080, "secret": "agent_token", "master_secret": "agent_master_secret"}
    assert secrets_of_a_run(home, SITE | {"hostwright_agent": agent}) == NAMED | {"agent_token", "agent_master_secret"}
    other = {**SITE["hostwright_proxmox"], "secret": "a_secret_of_something_else"}
    named = secrets_of_a_run(home, SITE | {"hostwright_proxmox": other})
    assert named == (NAMED - {"proxmox_token"}) | {"a_secret_of_something_else"}


@pytest.mark.parametrize(
    "templated",
    [
        {"hostwright_proxy": "{{ mine }}"},
        {"hostwright_proxy": {"secret": "{{ mine }}"}},
        {"hostwright_dns": ["{{ first }}"]},
    ],
    ids=str,
)
def test_case_c6_a_template_may_name_any(home: Path, templated: dict[str, Any]) -> None:
    assert "velocity_secret" in secrets_of_a_run(home, SITE | templated)


def test_case_c6_a_template_that_names_no_secret_opens_none(home: Path) -> None:
    proxmox = {**SITE["hostwright_proxmox"], "host": "{{ pve_host }}", "node": "{{ pve_node }}"}
    assert secrets_of_a_run(home, SITE | {"hostwright_proxmox": proxmox}) == NAMED


def test_case_c6_a_file_that_is_gone_meanwhile_spoils_no_order(home: Path) -> None:
    (home / "inventory" / "site.yml~").symlink_to(home / "nowhere")
    assert secrets_of_a_run(home, SITE) == NAMED
