"""A site that changes between publishing and deleting: what was published is taken back from its record (case A2)."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.settings import PROJECT_DIR
from tests.support.fix_stack import GAME, Running, running_stack

TERRARIA = {"ctype": "game", "game": "terraria", "variant": "stock", "version": "1.4.4.9"}
XONOTIC = {"ctype": "game", "game": "xonotic", "variant": "stock", "version": "0.8.6"}


@dataclass(frozen=True)
class Site:
    """A running Hostwright whose inventory is its own."""

    running: Running
    inventory: Path

    def change_game(self, name: str, **changes: Any) -> None:
        """Change an entry of the catalogue, as an operator does while everything runs."""
        path = self.inventory / "group_vars" / "all" / "catalogue.yml"
        content = yaml.safe_load(path.read_text())
        content["hostwright_catalogue"]["games"][name] |= changes
        path.write_text(yaml.safe_dump(content))

    def set_variables(self, **variables: Any) -> None:
        """Let the inventory say something else than the lab."""
        path = self.inventory / "group_vars" / "all" / "changed.yml"
        path.write_text(yaml.safe_dump({f"hostwright_{name}": value for name, value in variables.items()}))

    def published(self) -> str:
        """All that the world is told, as text."""
        inventory = self.running.lab.inventory()
        return json.dumps({name: inventory[name] for name in ("records", "registrations", "entryPoints")})


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    inventory = tmp_path / "inventory"
    shutil.copytree(PROJECT_DIR / "inventory" / "lab", inventory)
    inventory.chmod(0o755)
    monkeypatch.setenv("HOSTWRIGHT_INVENTORY", str(inventory))
    with running_stack() as running:
        yield Site(running, inventory)


def test_case_a2_takes_back_what_was_published_whatever_the_site_says_today(site: Site) -> None:
    running, customer = site.running, site.running.customer()
    terraria, xonotic, vanilla = (running.provision(customer, order) for order in (TERRARIA, XONOTIC, GAME))
    for operation in (terraria, xonotic, vanilla):
        assert operation["status"] == "succeeded", operation["error"]
        assert operation["hostname"] in site.published()

    site.change_game("terraria", edge="router", probe="minecraft")
    site.change_game("xonotic", service="renamed")
    moved = running.lab.site["entry_points"] | {"directory": str(site.inventory)}
    without_public = [entry for entry in running.lab.site["dns"] if entry["name"] != "cloudflare"]
    site.set_variables(entry_points=moved, dns=without_public)

    failed = running.tear_down(customer, vanilla["serverId"])
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == "dns-failed"
    assert "hostwright_dns no longer has the entry cloudflare" in failed["error"]["message"]
    assert f"{vanilla['hostname']}.{running.lab.site['dns'][1]['zone']}" in site.published(), "it is not forgotten"

    site.set_variables(entry_points=moved)
    for operation in (vanilla, terraria, xonotic):
        assert running.tear_down(customer, operation["serverId"])["status"] == "succeeded"
        assert operation["hostname"] not in site.published()
    assert json.loads(site.published()) == {"records": [], "registrations": [], "entryPoints": []}
