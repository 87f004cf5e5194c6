"""The playbooks as a person runs them against the lab: no orchestrator, no database."""

from pathlib import Path
from typing import Any

import yaml

from orchestrator.drivers.players import minecraft
from tests.support.fix_lab import Lab
from tests.support.observe import container
from tests.support.playbook import Run, play

VMID = 5701
ORDER = {"vmid": VMID, "ctype": "game", "variant": "vanilla", "version": "1.21.7", "world": "by hand"}


def run(lab: Lab, playbook: str, *arguments: str) -> Run:
    return play(playbook, lab.state_dir, {}, arguments=arguments).ok()


def ours(lab: Lab) -> dict[str, Any]:
    found = container(lab.inventory(), VMID)
    assert found is not None
    return found


def test_playbooks_provision_debug_and_tear_down_by_hand(clean_lab: Lab, tmp_path: Path) -> None:
    lab, before = clean_lab, clean_lab.inventory()
    file = tmp_path / "order.yml"
    file.write_text(yaml.safe_dump(ORDER))
    order = ("-e", f"@{file}")
    run(lab, "provision", *order)
    assert ours(lab)["hostname"] == f"mc-vanilla-{VMID}"
    assert_joinable(lab)

    # A second time there is nothing to do.
    assert run(lab, "provision", *order).changed == []

    # One phase alone, with nothing but a VMID.
    address = ours(lab)["address"]
    found = run(lab, "phases/wait_for_ip", "-e", f"vmid={VMID}")
    assert found.result("Wait for the address")["address"] == address
    run(lab, "phases/stop_container", "-e", f"vmid={VMID}")
    assert ours(lab)["status"] == "stopped"
    run(lab, "phases/start_container", "-e", f"vmid={VMID}")
    run(lab, "phases/wait_for_agent_terminal_state", "-e", f"vmid={VMID}", "-e", f"address={address}")
    run(lab, "phases/unpublish_edge", "-e", f"vmid={VMID}")
    assert lab.inventory()["records"] == before["records"]
    run(lab, "phases/publish_edge", "-e", f"vmid={VMID}", "-e", f"address={address}")
    assert_joinable(lab)

    run(lab, "teardown", *order)
    assert lab.inventory() == before


def test_stopped_server_starts_again_with_what_it_had(clean_lab: Lab, tmp_path: Path) -> None:
    """The agent resumes by itself: its configuration is not sent again, and the same world is served."""
    lab, before = clean_lab, clean_lab.inventory()
    file = tmp_path / "order.yml"
    file.write_text(yaml.safe_dump(ORDER))
    order = ("-e", f"@{file}")
    run(lab, "provision", *order)

    assert run(lab, "stop", *order).changed == ["Remove the registration and the records", "Stop the container"]
    assert (ours(lab)["status"], ours(lab)["pid"]) == ("stopped", None)
    assert lab.inventory()["records"] == before["records"]
    assert lab.inventory()["registrations"] == before["registrations"]
    assert run(lab, "stop", *order).changed == []

    started = run(lab, "start", *order)
    assert started.changed == ["Start the container", "Publish it"]
    assert started.result("Send the configuration")["progress"] == "the agent already has this configuration"
    assert_joinable(lab)
    assert run(lab, "start", *order).changed == []

    run(lab, "teardown", *order)
    assert lab.inventory() == before


def assert_joinable(lab: Lab) -> None:
    address, port = lab.urls["edgeAddress"].rsplit(":", 1)
    status = minecraft.ping(address, int(port), hostname=f"mc-vanilla-{VMID}.lab.example")
    assert status.version == "1.21.7"
