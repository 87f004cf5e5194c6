"""Runs the real playbooks with ansible-playbook, as a person would, and reads what every task said."""

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.ansible_server import run_playbook

ROOT = Path(__file__).parents[2]

# The phases of an order in the groups that tests run them in.
CREATE = tuple(
    f"phases/{role}" for role in ("clone_container", "configure_container", "start_container", "wait_for_ip")
)
CONFIGURE = tuple(
    f"phases/{role}" for role in ("build_agent_payload", "send_agent_config", "wait_for_agent_terminal_state")
)
DELETE = tuple(f"phases/{role}" for role in ("stop_container", "delete_container"))


@dataclass(frozen=True)
class Task:
    """The last result of one task on localhost."""

    name: str
    result: dict[str, Any]

    @property
    def changed(self) -> bool:
        return bool(self.result.get("changed"))

    @property
    def failed(self) -> bool:
        return bool(self.result.get("failed"))


@dataclass(frozen=True)
class Run:
    """One run: exit code, tasks in order, everything it printed."""

    code: int
    tasks: list[Task]
    output: str

    @property
    def changed(self) -> list[str]:
        return [task.name for task in self.tasks if task.changed]

    @property
    def failure(self) -> dict[str, Any]:
        """The result of the last task that failed."""
        failed = [task.result for task in self.tasks if task.failed]
        assert failed, f"nothing failed:\n{self.output}"
        return failed[-1]

    def result(self, name: str) -> dict[str, Any]:
        return next(task.result for task in self.tasks if task.name == name)

    def ok(self) -> "Run":
        assert self.code == 0, self.output
        return self


def unsafe(text: str) -> dict[str, str]:
    """A customer's string, as the orchestrator hands it to Ansible."""
    return {"__ansible_unsafe": text}


def environment(state_dir: Path) -> dict[str, str]:
    """Of an ansible-playbook that reports what its tasks said."""
    return os.environ | {
        "HOSTWRIGHT_STATE_DIR": str(state_dir),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def play(
    playbooks: str | Path | Sequence[str],
    state_dir: Path,
    variables: Mapping[str, Any],
    *,
    arguments: Sequence[str] = (),
) -> Run:
    """Runs `playbooks/<name>.yml`, several in one go, or the file itself when it is a path."""
    named = [playbooks] if isinstance(playbooks, str | Path) else playbooks
    files = [str(one if isinstance(one, Path) else ROOT / "playbooks" / f"{one}.yml") for one in named]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as extra:
        json.dump(variables, extra)
        extra.flush()
        done = run_playbook([*files, "-e", f"@{extra.name}", *arguments], environment(state_dir), ROOT)
    output = done.stdout + done.stderr
    return Run(done.returncode, _tasks(done.stdout), output)


def _tasks(stdout: str) -> list[Task]:
    """Each playbook ends with a report of all plays so far, so the last one counts."""
    report: dict[str, Any] = {"plays": []}
    start = stdout.find("{\n")
    while start >= 0:
        report, end = json.JSONDecoder().raw_decode(stdout, start)
        start = stdout.find("{\n", end)
    return [
        Task(str(task["task"]["name"]).rpartition(" : ")[2], task["hosts"].get("localhost", {}))
        for played in report["plays"]
        for task in played["tasks"]
    ]
