"""Records the event streams below tests/fixtures/events: real provisions against a lab, without what is of one machine.

python -m tests.support.record_events
"""

import json
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.domain.operations import PROVISION
from orchestrator.play import runner
from orchestrator.play.events import Event
from orchestrator.play.run_directory import make_run_directory
from orchestrator.settings import PROJECT_DIR, Settings
from tests.support.fix_lab import Lab, running_lab

FOLDER = Path(__file__).parents[1] / "fixtures" / "events"
OPERATION, INSTANCE = uuid.UUID(int=1), uuid.UUID(int=2)
LIMITS = {"memory_mib": 2048, "cpu_cores": 2, "disk_gib": 8, "env": {}}
GAME = {"ctype": "game", "game": "minecraft", "variant": "vanilla", "version": "1.21.7", "world": "world", **LIMITS}
DEV = {"ctype": "dev", "runtime": "python", "version": "3.12", "enable_code_server": True, **LIMITS}
NO = {"status": "error", "errorMessage": "The zone is read-only."}
LOG = ["Starting minecraft server version 1.21.7", "Failed to start: out of memory"]


@dataclass(frozen=True)
class Scenario:
    """One stream: what is ordered, what goes wrong, and how short the patience is."""

    outcome: runner.End
    order: dict[str, Any] = field(default_factory=lambda: GAME)
    fault: dict[str, Any] | None = None
    timeouts: dict[str, int] = field(default_factory=dict)
    playbook: str = "provision.yml"


SCENARIOS = {
    "success_game": Scenario("successful"),
    "success_dev": Scenario("successful", DEV),
    "agent_error": Scenario(
        "failed", fault={"target": "agent", "behaviour": "error", "message": "the server exited with 1", "log": LOG}
    ),
    "agent_timeout": Scenario(
        "failed",
        fault={"target": "agent", "behaviour": "hang"},
        timeouts={"wait_for_agent_terminal_state_timeout": 9},
    ),
    "locked_clone": Scenario(
        "failed",
        fault={
            "target": "proxmox", "method": "POST", "path": "/clone", "status": 500, "message": "CT is locked (disk)",
        },
        timeouts={"clone_container_timeout": 2},
    ),
    "dns_failure": Scenario("failed", fault={"target": "technitium", **NO}),
    "no_playbook": Scenario("failed", playbook="missing.yml"),
}  # fmt: skip


def record(lab: Lab, vmid: int, scenario: Scenario) -> list[Event]:
    """The events of one provision. Raises AssertionError when it ends otherwise than planned."""
    settings = Settings(state_dir=lab.state_dir)
    timeouts = {f"{phase.role}_timeout": settings.timeout(phase) for phase in PROVISION.played}
    identity = {
        "vmid": vmid,
        "hostname": f"recorded-{vmid}",
        "server_id": str(INSTANCE),
        "operation_id": str(OPERATION),
    }
    run = runner.Run(
        operation_id=OPERATION,
        fencing_token=1,
        playbooks=[PROJECT_DIR / "playbooks" / scenario.playbook],
        inventory=settings.inventory,
        variables=timeouts | scenario.timeouts | runner.unsafe(scenario.order) | identity,
        secrets=lab.secrets,
        state_dir=lab.state_dir,
    )
    events: list[Event] = []
    if scenario.fault is not None:
        lab.fault(**scenario.fault)
    lease_ends_at = time.monotonic() + 600
    with make_run_directory(OPERATION, 1) as directory:
        outcome = runner.play(
            run, directory, on_event=events.append, should_stop=lambda: False, lease_ends_at=lambda: lease_ends_at
        )
    lab.clear_faults()
    assert outcome == scenario.outcome, [event.get("stdout") for event in events]
    return events


def scrub(state_dir: Path) -> Callable[[Event], str]:
    """A function that makes an event a line of text without process ids and names of this machine."""
    mac = f"{uuid.getnode():012x}"  # Ansible's ids begin with it
    places = {
        f"{mac[:8]}-{mac[8:]}": "00000000-0000",
        str(state_dir): "/state",
        str(PROJECT_DIR): "/hostwright",
        sys.prefix: "/venv",
        socket.gethostname(): "controller",
    }

    def line(event: Event) -> str:
        kept = {key: value for key, value in event.items() if key != "stdout"}  # the same again, for a terminal
        text = json.dumps(_without_pids(kept), sort_keys=True)
        for place, name in places.items():
            text = text.replace(place, name)
        return text

    return line


def _without_pids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: 1 if key == "pid" else _without_pids(item) for key, item in value.items()}
    return [_without_pids(item) for item in value] if isinstance(value, list) else value


def main() -> None:
    """Record every scenario anew."""
    with tempfile.TemporaryDirectory() as home, running_lab(Path(home), speed=0) as lab:
        line = scrub(Path(home))
        for number, (name, scenario) in enumerate(SCENARIOS.items()):
            lines = [line(event) for event in record(lab, 5000 + number, scenario)]
            text = "".join(f"{one}\n" for one in lines)
            assert not any(secret in text for secret in lab.secrets.values()), f"{name} holds a secret"
            (FOLDER / f"{name}.jsonl").write_text(text, encoding="utf-8")
            print(f"{name}: {len(lines)} events")


if __name__ == "__main__":
    main()
