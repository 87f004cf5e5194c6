"""The example of a production inventory, and what is said of one that is not filled in."""

import copy
import json
import os
import re
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.domain.errors import ConfigurationError
from orchestrator.lab.addresses import Addresses
from orchestrator.lab.site import describe_site
from orchestrator.play.inventory import PLACEHOLDER, find_problems, read_hosts, require_filled
from orchestrator.settings import PROJECT_DIR, Settings
from tests.support.production import EXAMPLE, SECRETS_FILE, SITE, copy_example
from tests.unit.test_roles import PHASE_ROLES

LAB = PROJECT_DIR / "inventory" / "lab"
HOSTS = ("localhost", "edge-1")
ORDER = {"vmid": 5000, "server_id": "s", "operation_id": "o", "address": str(IPv4Address(1)), "hostname": "mc-5000"}


def example_site() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((EXAMPLE / SITE).read_text())
    return found


def lab_site() -> dict[str, Any]:
    site = describe_site(Addresses(99), Path("/ca.pem"), Path("/traefik"))
    return {f"hostwright_{name}": value for name, value in site.items()}


def test_defines_what_the_lab_defines() -> None:
    example, lab = example_site(), lab_site()
    assert set(example) == {*lab, SECRETS_FILE}
    for name in set(lab) - {"hostwright_dns"}:
        assert set(lab[name]) <= set(example[name]), name
    by_driver = {entry["driver"]: entry for entry in example["hostwright_dns"]}
    for entry in lab["hostwright_dns"]:
        assert set(entry) - {"ca_file"} <= set(by_driver[entry["driver"]])


def test_shares_catalogue_and_defaults_with_the_lab() -> None:
    for name in ("hosts.yml", "group_vars/all/catalogue.yml", "group_vars/all/order.yml"):
        assert (EXAMPLE / name).resolve() == LAB / name


def test_copies_as_plain_files(tmp_path: Path) -> None:
    copied = copy_example(tmp_path / "inventory")
    assert [file for file in copied.rglob("*") if file.is_symlink()] == []


@pytest.mark.parametrize("kind", ["provision", "teardown", "start", "stop"])
def test_passes_the_syntax_check_of_a_playbook(kind: str) -> None:
    done = ansible("ansible-playbook", "--syntax-check", "-i", EXAMPLE, f"playbooks/{kind}.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_gives_every_role_what_its_argument_specs_ask_for(tmp_path: Path) -> None:
    plays = []
    for role in PHASE_ROLES:
        (play,) = yaml.safe_load((PROJECT_DIR / "playbooks" / "phases" / f"{role}.yml").read_text())
        given = play["roles"][0]["vars"]
        options = yaml.safe_load((PROJECT_DIR / "roles" / role / "meta" / "argument_specs.yml").read_text())
        check = {
            "argument_spec": options["argument_specs"]["main"]["options"],
            "provided_arguments": {name: f"{{{{ {name} }}}}" for name in given},
        }
        tasks = [{"name": role, "ansible.builtin.validate_argument_spec": check}]
        plays.append({"name": role, "hosts": "localhost", "gather_facts": False, "vars": given, "tasks": tasks})
    playbook = tmp_path / "specs.yml"
    playbook.write_text(yaml.safe_dump(plays))
    done = ansible("ansible-playbook", "-i", EXAMPLE, "-e", json.dumps(ORDER), playbook)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nok: [localhost]") == len(PHASE_ROLES), done.stdout


def test_asks_nobody_for_containers_unless_their_file_is_named() -> None:
    done = ansible("ansible-inventory", "-i", EXAMPLE, "--list")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["_meta"]["hostvars"]) == set(HOSTS)


def test_reads_every_host_also_those_without_a_variable(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {hosts: {a: {x: 1}}, children: {edge: {hosts: {b: }}}}")
    assert read_hosts(Settings(inventory=tmp_path, state_dir=tmp_path)) == {"a", "b"}


def test_names_every_place_that_is_not_filled_in() -> None:
    with pytest.raises(ConfigurationError) as refused:
        require_filled(EXAMPLE)
    said = str(refused.value).splitlines()
    assert len(said) == (EXAMPLE / SITE).read_text().count(f": {PLACEHOLDER}") + 2  # the two within a URL
    for place in ("hostwright_proxmox.host", "hostwright_dns[0].url", "hostwright_dns[2].zone", "hostwright_proxy.url"):
        assert any(f"site.yml: {place} still says {PLACEHOLDER}" in one for one in said), place


def test_accepts_the_inventory_of_the_lab() -> None:
    require_filled(LAB)


def test_refuses_a_copy_of_the_links(tmp_path: Path) -> None:
    copied = tmp_path / "inventory"
    subprocess.run(["cp", "-R", str(EXAMPLE), str(copied)], check=True)
    with pytest.raises(ConfigurationError, match=r"hosts\.yml is a link to a missing file: .* cp -RL"):
        require_filled(copied)


def test_refuses_an_inventory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"HOSTWRIGHT_INVENTORY names .* which is not a directory"):
        require_filled(tmp_path / "nowhere")


def test_finds_nothing_missing_in_a_whole_site() -> None:
    secrets = dict.fromkeys(("proxmox_token", "technitium_token", "cloudflare_token", "velocity_secret"), "v")
    assert find_problems(lab_site(), secrets | {"agent_token": "v", "agent_master_secret": "w"}, HOSTS) == []
    named = set(re.findall(r"^ *(?:master_)?secret: (\w+)", (EXAMPLE / SITE).read_text(), re.MULTILINE))
    assert find_problems(example_site(), {name: f"of {name}" for name in named}, HOSTS) == []


def test_case_c11_refuses_a_master_secret_that_every_container_has() -> None:
    secrets = dict.fromkeys(("agent_token", "agent_master_secret"), "v")
    assert any("make up another secret" in problem for problem in find_problems(lab_site(), secrets, HOSTS))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda site: site.pop("hostwright_proxy"), "does not set hostwright_proxy:"),
        (lambda site: site["hostwright_proxmox"].pop("node"), "does not set hostwright_proxmox.node:"),
        (lambda site: site.update(hostwright_dns="x"), "does not set hostwright_dns:"),
        (lambda site: site["hostwright_dns"][1].pop("zone"), "hostwright_dns entry cloudflare: missing zone"),
        (lambda site: site["hostwright_dns"][1].pop("zone_id"), "hostwright_dns entry cloudflare: missing zone_id"),
        (lambda site: site["hostwright_dns"][0].pop("secret"), "hostwright_dns entry technitium: missing secret"),
        (lambda site: site["hostwright_dns"][0].update(driver="bind"), "entry technitium: unknown driver bind"),
        (lambda site: site["hostwright_dns"][0].update(urll="x"), "entry technitium: unknown urll"),
        (lambda site: site["hostwright_dns"][0].update(name="cloudflare"), "has two entries named cloudflare"),
        (lambda site: site["hostwright_proxy"].pop("secret"), "is wrong: missing secret"),
        (lambda site: site["hostwright_proxy"].update(driver="gate"), "is wrong: unknown driver gate"),
        (lambda site: site["hostwright_dns"].append("x"), "does not set hostwright_dns[2]:"),
        (lambda site: site["hostwright_proxmox"].update(secret="mine"), "the secret mine,"),
        (lambda site: None, "the secret proxmox_token,"),
        (lambda site: site.pop("hostwright_entry_points"), "does not set hostwright_entry_points:"),
        (lambda site: site["hostwright_entry_points"].pop("host"), "is wrong: missing host"),
        (
            lambda site: site["hostwright_entry_points"].update(host="edge-9"),
            "names the host edge-9, which the inventory",
        ),
    ],
)
def test_names_what_a_site_lacks(change: Any, said: str) -> None:
    site = copy.deepcopy(lab_site()) | {"hostwright_catalogue": {"games": {"xonotic": {"edge": "entry-point"}}}}
    change(site)
    assert any(said in problem for problem in find_problems(site, {}, HOSTS))


@pytest.mark.parametrize(
    ("variable", "key", "value", "form"),
    [
        ("hostwright_proxmox", "host", "https://pve1.example.net:8006/", "without https:// or a port"),
        ("hostwright_proxmox", "host", "pve1.example.net:8006", "without https:// or a port"),
        ("hostwright_proxmox", "host", "pve_1", "a host name or an address alone"),
        ("hostwright_proxmox", "port", "8006", "a number from 1 to 65535"),
        ("hostwright_proxmox", "node", "pve1.example.net", "the name of the node alone"),
        ("hostwright_proxmox", "user", "hostwright", "a user with its realm"),
        ("hostwright_proxmox", "user", "hostwright@pve!orders", "a user with its realm"),
        ("hostwright_proxmox", "token_name", "hostwright@pve!orders", "the name of the token alone"),
        ("hostwright_templates", "game", "9000", "the VMID of a template"),
        ("hostwright_templates", "dev", 9, "the VMID of a template"),
        ("hostwright_agent", "port", 70000, "a number from 1 to 65535"),
    ],
)
def test_case_d6_names_what_has_another_form(variable: str, key: str, value: object, form: str) -> None:
    site = copy.deepcopy(lab_site())
    site[variable][key] = value
    (said,) = [one for one in find_problems(site, {}, HOSTS) if one.startswith(f"{variable}.{key} is ")]
    assert repr(value) in said
    assert form in said
    site[variable][key] = "{{ of_another_variable }}"
    assert not any(one.startswith(f"{variable}.{key} is ") for one in find_problems(site, {}, HOSTS))


def test_case_d6_names_a_bridge_of_another_form() -> None:
    site = copy.deepcopy(lab_site())
    site["hostwright_network"]["game"]["bridge"] = "vmbr0,firewall=0"
    assert any("hostwright_network.game.bridge is 'vmbr0,firewall=0'" in one for one in find_problems(site, {}, HOSTS))


def test_asks_for_no_entry_points_where_no_game_needs_them() -> None:
    site = copy.deepcopy(lab_site()) | {"hostwright_catalogue": {"games": {"minecraft": {}}}}
    del site["hostwright_entry_points"]
    assert not any("hostwright_entry_points" in problem for problem in find_problems(site, {}, HOSTS))


def ansible(*command: object) -> subprocess.CompletedProcess[str]:
    """Without a Proxmox, a lab or a secret to ask."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOSTWRIGHT_")}
    return subprocess.run(
        [str(Path(sys.executable).parent / str(command[0])), *map(str, command[1:])],
        cwd=PROJECT_DIR, env=kept | {"ANSIBLE_CONFIG": str(PROJECT_DIR / "ansible.cfg")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
