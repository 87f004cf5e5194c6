"""publish_edge and unpublish_edge for what the bridge is not: mc-router, and games with an entry point of their own."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.probes import Probe
from orchestrator.drivers.players.minecraft import ping
from orchestrator.drivers.players.probe import ProbeError, ask
from tests.support import containers
from tests.support.containers import Stage
from tests.support.edge import FILES, GONE, PLAN, PUBLISH, VERIFY, is_published, publish, unpublish, withdraw
from tests.support.edge_kinds import McRouter, directory_of
from tests.support.fix_lab import Lab
from tests.support.playbook import CONFIGURE, CREATE, ROOT, play

GETINFO = Probe("udp", b"\xff\xff\xff\xffgetinfo", b"\xff\xff\xff\xffinfoResponse")
GAME: dict[str, Any] = {"vmid": 5960, "game": "xonotic", "variant": "stock", "version": "0.8.6", "server_id": "of-5960"}
HOST, PORT = "xonotic-5960", 30960


@pytest.fixture(scope="module")
def placed(lab: Lab) -> Iterator[dict[str, Any]]:
    """A game server that runs and is not published; gone afterwards."""
    run = play((*CREATE, *CONFIGURE), lab.state_dir, GAME).ok()
    yield GAME | {"address": run.result("Wait for the address")["address"]}
    containers.remove(lab, GAME["vmid"], server_id=GAME["server_id"])


@pytest.fixture
def game(lab: Lab, placed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same, for a test that publishes it."""
    yield placed
    if is_published(lab, HOST):
        unpublish(lab, placed).ok()


@pytest.fixture(scope="module")
def minecraft(lab: Lab) -> Iterator[dict[str, Any]]:
    order = {"vmid": 5965, "server_id": "of-5965"}
    yield order | {"address": containers.make(lab, 5965, Stage.READY, server_id="of-5965")}
    containers.remove(lab, 5965, server_id="of-5965")


def srv_records(lab: Lab) -> list[tuple[str, str]]:
    records = lab.inventory()["records"]
    return sorted((one["name"], one["value"]) for one in records if one["type"] == "SRV" and HOST in one["name"])


def test_game_with_an_entry_point_is_published_at_its_own_port_and_taken_back(lab: Lab, game: dict[str, Any]) -> None:
    before = lab.inventory()
    assert publish(lab, game, "--check").ok().changed == [PUBLISH]
    assert lab.inventory() == before
    first = publish(lab, game).ok()
    assert first.changed == [PUBLISH]
    assert {"proxy", "ping container", "ping technitium", "ping cloudflare"} <= set(first.result(VERIFY)["checks"])
    zones = ("lab.example", "lab.internal")
    assert srv_records(lab) == [(f"_xonotic._udp.{HOST}.{zone}", f"0 5 {PORT} {HOST}.{zone}") for zone in zones]
    assert publish(lab, game).ok().changed == []
    for provider in lab.site["dns"]:
        ask(provider["address"], PORT, GETINFO, timeout=5)
    assert unpublish(lab, game).ok().changed == [FILES, GONE]
    assert lab.inventory() == before
    for provider in lab.site["dns"]:
        with pytest.raises(ProbeError):
            ask(provider["address"], PORT, GETINFO, timeout=0.5)


def test_verify_tells_that_traefik_does_not_take_the_files_over(lab: Lab, game: dict[str, Any]) -> None:
    theirs = directory_of(lab) / "theirs.yml"
    theirs.write_text("tcp: [")
    try:
        failure = publish(lab, game, publish_edge_timeout=3).failure
    finally:
        theirs.unlink()
    assert (failure["code"], failure["detail"]["check"]) == ("verify-failed", "ping technitium")
    assert f":{PORT}/udp did not answer within" in failure["msg"]


def test_case_a3_file_of_somebody_else_is_left_alone_and_nothing_of_ours_is_there(
    lab: Lab, game: dict[str, Any]
) -> None:
    published = publish(lab, game).ok()
    ours = directory_of(lab) / f"{HOST}.yml"
    text = ours.read_text()
    ours.write_text(text.partition("\n")[2])
    gone = withdraw(lab, game, published).ok()
    assert gone.changed == [GONE]
    assert len(gone.result(GONE)["withdrawn"]) == len(published.result(PLAN)["publishing"])
    assert (srv_records(lab), ours.exists()) == ([], True)
    ours.write_text(text)


BAD_HOSTS: dict[str, dict[str, Any]] = {
    "wrong password": {
        "ansible_connection": "local", "ansible_become": True, "ansible_become_password": "planted",
        "ansible_become_user": "nobody", "ansible_become_exe": "{{ inventory_dir }}/sudo",
    },
    "undefined interpreter": {"ansible_connection": "local", "ansible_python_interpreter": "{{ nowhere }}"},
    "undefined variable": {"ansible_connection": "{{ nowhere }}"},
    "no such connection": {"ansible_connection": "carrier_pigeon"},
}  # fmt: skip
REASONS = {
    "wrong password": ("velocity-failed", "Duplicate become password prompt"),
    "undefined interpreter": ("velocity-failed", "'nowhere' is undefined"),
    "undefined variable": ("internal", "'nowhere' is undefined"),
    "no such connection": ("internal", "carrier_pigeon"),
}


# Asks for the password again and again.
SUDO = """#!/bin/sh
for word; do case "$word" in *password:*) prompt=$word ;; esac; done
printf %s "$prompt" >&2; read -r given; printf %s "$prompt" >&2; read -r given; exit 1
"""


def on_host(directory: Path, variables: dict[str, Any]) -> tuple[str, ...]:
    """Options that add a host named `edge-bad` to the lab's inventory."""
    sudo = directory / "sudo"
    sudo.write_text(SUDO)
    sudo.chmod(0o755)
    inventory = directory / "edge.json"
    inventory.write_text(json.dumps({"all": {"hosts": {"edge-bad": variables}}}))
    return ("-i", str(ROOT / "inventory" / "lab"), "-i", str(inventory))


@pytest.mark.parametrize("reason", BAD_HOSTS)
def test_host_that_fails_keeps_its_file_alone(lab: Lab, game: dict[str, Any], tmp_path: Path, reason: str) -> None:
    published = publish(lab, game).ok()
    site = {"hostwright_entry_points": lab.site["entry_points"] | {"host": "edge-bad"}}
    planned = published.result(PLAN)["publishing"]
    places = {"traefik": f"edge-bad:{directory_of(lab)}"}
    moved = [one | {"place": places.get(one["driver"], one["place"])} for one in planned]
    code, words = REASONS[reason]
    run = unpublish(lab, game, *on_host(tmp_path, BAD_HOSTS[reason]), publications=moved, **site)
    assert (run.code, run.failure["code"], run.failure["changed"]) == (2, code, True)
    assert words in run.failure["msg"]
    assert "edge-bad" in run.failure["msg"]
    assert sorted(map(str, run.failure["withdrawn"])) == sorted(str(one) for one in moved if one["driver"] != "traefik")
    assert srv_records(lab) == []
    left = [one for one in moved if one["driver"] == "traefik"]
    mended = on_host(tmp_path, {"ansible_connection": "local", "ansible_python_interpreter": sys.executable})
    assert unpublish(lab, game, *mended, publications=left, **site).ok().result(GONE)["withdrawn"] == left
    assert list(directory_of(lab).iterdir()) == []


def test_host_that_fails_while_publishing_is_named_and_the_records_are_told(
    lab: Lab, game: dict[str, Any], tmp_path: Path
) -> None:
    site = {"hostwright_entry_points": lab.site["entry_points"] | {"host": "edge-bad"}}
    failure = publish(lab, game, *on_host(tmp_path, BAD_HOSTS["wrong password"]), **site).failure
    assert (failure["code"], failure["changed"]) == ("velocity-failed", True)
    assert "Duplicate become password prompt" in failure["msg"]
    assert failure["msg"].endswith("check user, key and variables of host edge-bad in the inventory")


def test_host_outside_the_inventory_is_refused_before_anything_is_published(lab: Lab, game: dict[str, Any]) -> None:
    before = lab.inventory()
    entry_points = lab.site["entry_points"] | {"host": "edge-9"}
    run = publish(lab, game, hostwright_entry_points=entry_points)
    assert run.failure["code"] == "internal"
    assert "hostwright_entry_points names the host edge-9, which the inventory does not have" in run.failure["msg"]
    assert "publishing" not in run.failure
    assert lab.inventory() == before


def test_site_without_entry_points_says_what_is_missing(lab: Lab, game: dict[str, Any]) -> None:
    failure = publish(lab, game, hostwright_entry_points={}).failure
    assert failure["code"] == "internal"
    assert "hostwright_entry_points is wrong: missing driver" in failure["msg"]


def test_mc_router_takes_players_by_full_host_name(lab: Lab, minecraft: dict[str, Any]) -> None:
    address, _, port = lab.urls["mcRouterAddress"].partition(":")
    site = {
        "hostwright_proxy": McRouter().entry(lab),
        "hostwright_dns": [provider | {"address": address} for provider in lab.site["dns"]],
    }
    before = lab.inventory()
    assert publish(lab, minecraft, **site).ok().changed == [PUBLISH]
    names = [f"mc-vanilla-5965.{zone}" for zone in ("lab.example", "lab.internal")]
    assert sorted(one["name"] for one in lab.inventory()["routes"]) == names
    for name in names:
        assert ping(address, int(port), hostname=name).version == "1.21.7"
    assert publish(lab, minecraft, **site).ok().changed == []
    assert unpublish(lab, minecraft, **site).ok().changed == [GONE]
    assert lab.inventory() == before
