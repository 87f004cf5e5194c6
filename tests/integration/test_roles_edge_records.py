"""What was published is recorded before it is made, and removed by its record, whatever has changed since."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.drivers.edge.recorded import VARIABLE
from tests.support.edge import GONE, PLAN, PUBLISH, other_secrets, publish, unpublish, withdraw
from tests.support.edge_kinds import McRouter, directory_of
from tests.support.fix_lab import Lab
from tests.support.playbook import CONFIGURE, CREATE, DELETE, ROOT, play

CATALOGUE: dict[str, Any] = yaml.safe_load((ROOT / "inventory/lab/group_vars/all/catalogue.yml").read_text())
ORDERS: dict[str, dict[str, Any]] = {
    "terraria": {
        "vmid": 5970,
        "server_id": "of-5970",
        "hostname": "terraria-5970",
        "game": "terraria",
        "variant": "stock",
        "version": "1.4.4.9",
    },
    "minecraft": {"vmid": 5971, "server_id": "of-5971", "hostname": "mc-vanilla-5971"},
}
# What inventory() of the lab shows of the edge.
EDGE = ("records", "registrations", "routes", "entryPoints")
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def servers(lab: Lab) -> Iterator[dict[str, dict[str, Any]]]:
    """Game servers that run and are not published, by their games."""
    found = {}
    for game, order in ORDERS.items():
        run = play((*CREATE, *CONFIGURE), lab.state_dir, order).ok()
        found[game] = order | {"address": run.result("Wait for the address")["address"]}
    yield found
    for order in ORDERS.values():
        play(DELETE, lab.state_dir, order).ok()


@pytest.fixture(params=ORDERS)
def order(request: pytest.FixtureRequest, lab: Lab, servers: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each of them, for a test that publishes it."""
    yield servers[request.param]
    unpublish(lab, servers[request.param]).ok()


@pytest.fixture
def minecraft(lab: Lab, servers: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The one behind the router."""
    yield servers["minecraft"]
    unpublish(lab, servers["minecraft"]).ok()


@pytest.fixture
def terraria(lab: Lab, servers: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The one with an entry point of its own."""
    yield servers["terraria"]
    unpublish(lab, servers["terraria"]).ok()


def edge(lab: Lab) -> dict[str, Any]:
    """All that is published in the lab."""
    inventory = lab.inventory()
    return {name: inventory[name] for name in EDGE}


def site_of(lab: Lab) -> dict[str, Any]:
    """What the inventory says of the edge, to be changed and given as extra variables."""
    names = ("dns", "proxy", "entry_points")
    return {f"hostwright_{name}": copy.deepcopy(lab.site[name]) for name in names} | copy.deepcopy(CATALOGUE)


def other_edge(site: dict[str, Any]) -> None:
    for game in site["hostwright_catalogue"]["games"].values():
        game["edge"] = "router" if game["edge"] == "entry-point" else "entry-point"


def other_service(site: dict[str, Any]) -> None:
    for game in site["hostwright_catalogue"]["games"].values():
        game["service"] = "renamed"


def other_zone(site: dict[str, Any]) -> None:
    for entry in site["hostwright_dns"]:
        entry["zone"] = "moved.example"


CHANGES: dict[str, Change] = {
    "edge": other_edge,
    "service": other_service,
    "zone": other_zone,
    "game gone": lambda site: site["hostwright_catalogue"]["games"].clear(),
    "directory moved": lambda site: site["hostwright_entry_points"].update(directory="/somewhere/else"),
    "no entry points": lambda site: site["hostwright_entry_points"].clear(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_case_a2_is_removed_by_its_record_whatever_has_changed_since(
    lab: Lab, order: dict[str, Any], change: str
) -> None:
    before, site = edge(lab), site_of(lab)
    published = publish(lab, order).ok()
    assert edge(lab) != before
    CHANGES[change](site)
    gone = withdraw(lab, order, published, **site).ok()
    assert edge(lab) == before
    planned = published.result(PLAN)["publishing"]
    assert sorted(map(str, gone.result(GONE)["withdrawn"])) == sorted(map(str, planned))
    assert withdraw(lab, order, published, **site).ok().changed == []


def test_case_a2_provider_that_was_taken_out_is_named_until_it_is_back(lab: Lab, minecraft: dict[str, Any]) -> None:
    before, site = edge(lab), site_of(lab)
    published = publish(lab, minecraft).ok()
    planned = published.result(PLAN)["publishing"]
    taken_out = site["hostwright_dns"].pop(0)
    failure = withdraw(lab, minecraft, published, **site).failure
    assert failure["code"] == "dns-failed"
    assert failure["msg"] == (
        "hostwright_dns no longer has the entry technitium with driver technitium, which still has "
        "A mc-vanilla-5971.lab.internal, SRV _minecraft._tcp.mc-vanilla-5971.lab.internal: put it back until that is "
        "gone"
    )
    left = [one for one in planned if one not in failure["withdrawn"]]
    assert {one["driver"] for one in left} == {"technitium"}
    site["hostwright_dns"].append(taken_out)
    rest = unpublish(lab, minecraft, publications=left, **site).ok()
    assert (rest.changed, rest.result(GONE)["withdrawn"]) == ([GONE], left)
    assert edge(lab) == before


def test_proxy_of_another_kind_is_named(lab: Lab, minecraft: dict[str, Any]) -> None:
    published = publish(lab, minecraft).ok()
    failure = withdraw(lab, minecraft, published, hostwright_proxy=McRouter().entry(lab)).failure
    assert failure["code"] == "velocity-failed"
    assert failure["msg"] == (
        "hostwright_proxy no longer names zpack-bridge, which still has backend mc-vanilla-5971: put it back until "
        "that is gone"
    )
    assert {one["driver"] for one in failure["withdrawn"]} == {"technitium", "cloudflare"}


def test_host_that_the_inventory_no_longer_has_is_named(lab: Lab, terraria: dict[str, Any]) -> None:
    published = publish(lab, terraria).ok()
    planned = published.result(PLAN)["publishing"]
    directory = directory_of(lab)
    moved = [one | {"place": f"edge-9:{directory}"} if one["driver"] == "traefik" else one for one in planned]
    failure = unpublish(lab, terraria, publications=moved).failure
    assert failure["code"] == "velocity-failed"
    assert failure["msg"] == (
        f"the inventory no longer has the host edge-9, with the directory {directory}, which still has file "
        "terraria-5970: put it back until that is gone"
    )
    assert (directory / "terraria-5970.yml").exists()
    assert len(failure["withdrawn"]) == len(planned) - 1


def test_case_a6_what_was_never_published_is_never_touched(lab: Lab, minecraft: dict[str, Any]) -> None:
    publish(lab, minecraft).ok()
    there = edge(lab)
    run = unpublish(lab, minecraft, publications=[]).ok()
    assert (run.changed, edge(lab)) == ([], there)
    registered = publish(lab, minecraft, "--check").ok().result(PLAN)["publishing"][-1]
    elsewhere = unpublish(lab, minecraft, publications=[registered | {"value": "192.0.2.1:1"}]).ok()
    assert (elsewhere.changed, edge(lab)) == ([], there)


def test_secret_that_is_a_word_of_a_name_changes_no_record(lab: Lab, order: dict[str, Any], tmp_path: Path) -> None:
    before = edge(lab)
    secrets = {"hostwright_secrets_file": other_secrets(lab, tmp_path, first="minecraft", second="terraria")}
    published = publish(lab, order, **secrets).ok()
    planned = published.result(PLAN)["publishing"]
    assert "***" not in str(planned)
    gone = withdraw(lab, order, published, **secrets).ok()
    assert sorted(map(str, gone.result(GONE)["withdrawn"])) == sorted(map(str, planned))
    assert edge(lab) == before


def test_check_mode_withdraws_nothing(lab: Lab, minecraft: dict[str, Any]) -> None:
    published = publish(lab, minecraft).ok()
    there = edge(lab)
    run = withdraw(lab, minecraft, published, "--check").ok()
    assert (run.changed, run.result(GONE)["withdrawn"], edge(lab)) == ([GONE], [], there)


def test_nothing_is_made_that_is_not_recorded(
    lab: Lab, minecraft: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, file = edge(lab), tmp_path / "recorded.json"
    planned = publish(lab, minecraft, "--check").ok().result(PLAN)["publishing"]
    monkeypatch.setenv(VARIABLE, str(file))
    file.write_text(json.dumps(planned[1:]))
    failure = publish(lab, minecraft, publish_edge_timeout=2).failure
    assert (failure["code"], edge(lab)) == ("internal", before)
    words = (
        f"{planned[0]['type']} {planned[0]['name']} was not published, because the worker did not record it within 2 s"
    )
    assert words in failure["msg"]
    file.write_text(json.dumps(planned))
    assert publish(lab, minecraft).ok().changed == [PUBLISH]
