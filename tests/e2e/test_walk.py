"""An order becomes a server that a player can join, and deleting it leaves nothing."""

import time
from typing import Any

import pytest

from orchestrator.cli.client.api import Refused
from orchestrator.domain.probes import Probe
from orchestrator.drivers.players.probe import ask
from tests.support.fix_stack import DEV, FINAL, GAME, Running


def test_order_becomes_reachable_and_teardown_leaves_nothing(stack: Running) -> None:
    client = stack.customer()
    before = stack.lab.inventory()
    operation = stack.provision(client, GAME)
    assert operation["status"] == "succeeded", operation["error"]
    instance = client.request("GET", f"/api/instances/{operation['serverId']}")
    assert instance["status"] == "ready"
    assert operation["hostname"] in {found["name"] for found in stack.lab.inventory()["registrations"]}
    assert stack.tear_down(client, operation["serverId"])["status"] == "succeeded"
    assert stack.lab.inventory() == before


def test_newest_operation_of_a_server_is_found_by_vmid_and_name(stack: Running) -> None:
    client = stack.customer()
    first = stack.provision(client, DEV)
    last = stack.tear_down(client, first["serverId"])
    for meant in (str(first["vmid"]), first["hostname"]):
        assert client.operation_id(meant) == last["operationId"]
    assert client.operation_id(first["operationId"].upper()) == first["operationId"]
    with pytest.raises(Refused, match="999999 is no operation id, and no server of yours"):
        client.operation_id("999999")


@pytest.mark.parametrize(
    ("order", "probe"),
    [
        ({"game": "xonotic", "version": "0.8.6"}, Probe("udp", b"\xff\xff\xff\xffgetinfo", b"\xff\xff\xff\xffinfo")),
        ({"game": "terraria", "version": "1.4.4.9"}, Probe("tcp")),
    ],
    ids=["udp", "tcp"],
)
def test_game_with_a_port_of_its_own_answers_there_and_leaves_nothing(
    stack: Running, order: dict[str, Any], probe: Probe
) -> None:
    client, before = stack.customer(), stack.lab.inventory()
    operation = stack.provision(client, {"ctype": "game", "variant": "stock"} | order)
    assert operation["status"] == "succeeded", operation["error"]
    instance = client.request("GET", f"/api/instances/{operation['serverId']}")
    assert (instance["game"], instance["publicPort"]) == (order["game"], 25000 + instance["vmid"])
    ports = {one["value"].split()[2] for one in stack.lab.inventory()["records"] if one["type"] == "SRV"}
    assert ports == {str(instance["publicPort"])}
    for provider in stack.lab.site["dns"]:
        ask(provider["address"], instance["publicPort"], probe)
    stack.tear_down(client, operation["serverId"])
    assert stack.lab.inventory() == before


def test_dev_container_publishes_nothing(stack: Running) -> None:
    client = stack.customer()
    before = stack.lab.inventory()
    operation = stack.provision(client, DEV)
    assert operation["status"] == "succeeded", operation["error"]
    after = stack.lab.inventory()
    assert after["records"] == before["records"]
    assert after["registrations"] == before["registrations"]
    stack.tear_down(client, operation["serverId"])
    assert stack.lab.inventory() == before


def test_status_changes_phase_by_phase(stack: Running) -> None:
    client = stack.customer()
    accepted = client.request("POST", "/api/instances", body=GAME)
    seen: list[str] = []
    operation = client.operation(accepted["operationId"])
    while operation["status"] not in FINAL:
        if operation["status"] == "running" and operation["heartbeatAt"]:
            beat = time.mktime(time.strptime(operation["heartbeatAt"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
            assert time.time() - beat < 5
        if operation["phase"] and operation["phase"] not in seen:
            seen.append(operation["phase"])
        operation = client.operation(accepted["operationId"], wait=1)
    names = [phase["name"] for phase in operation["phases"]]
    assert [name for name in names if name in seen] == seen
    assert len(seen) >= 6
    stack.tear_down(client, operation["serverId"])
