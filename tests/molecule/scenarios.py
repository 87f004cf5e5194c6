"""The scenarios in molecule/, and a run of one of them."""

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))
LIMIT_SECONDS = 900
"""How long a scenario may run. Most take half a minute."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_END = re.compile(r"➜ (?P<step>\w+): Executed: Failed")
_DESTROYED = re.compile(r"➜ destroy: Executed: Successful")
_TASK = re.compile(r"^TASK \[(?P<task>.+?)\] \*+$", re.MULTILINE)
_CHANGED_AGAIN = re.compile(r"^\* .*=> (?P<task>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Result:
    """One run. It failed in this `step` of molecule and this `task` of Ansible, which are empty when it passed."""

    scenario: str
    passed: bool
    seconds: float
    step: str = ""
    task: str = ""
    output: str = ""
    """What the step that failed has printed, or everything when no step failed."""


def is_in_container(scenario: str) -> bool:
    """Whether a scenario acts inside a container, which needs root, and not on a lab."""
    return (ROOT / "molecule" / scenario / "molecule.yml").is_symlink()


def run(scenario: str, driver: str, roles: Path | None = None) -> Result:
    """Run a whole scenario, on the roles of this checkout or of another directory. It leaves nothing behind."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hostwright-molecule-") as directory:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "MOLECULE_EPHEMERAL_DIRECTORY": directory,
            "MOLECULE_CONTAINERS": driver,
            "ANSIBLE_NOCOLOR": "1",
        }
        if roles is not None:
            environment["ANSIBLE_ROLES_PATH"] = str(roles)
        code, output = _molecule(["test", "--no-command-borders"], scenario, environment)
        if not _DESTROYED.search(output):
            _molecule(["destroy"], scenario, environment)
    step, task, told = find_failure(output)
    return Result(scenario, code == 0, time.monotonic() - began, step, task, "" if code == 0 else told)


def find_failure(output: str) -> tuple[str, str, str]:
    """Find in the output of `molecule test` the step and the task that failed, and what the step printed."""
    end = _END.search(output)
    if end is None:
        return "", "", output
    begin = output.rfind(f"➜ {end['step']}: Executing", 0, end.start())
    told = output[output.find("\n", begin) + 1 : output.rfind("\n", 0, end.start())]
    again = _CHANGED_AGAIN.search(told)
    tasks = _TASK.findall(told.partition("fatal: ")[0])
    return end["step"], again["task"] if again else tasks[-1] if tasks else "", told


def _molecule(arguments: list[str], scenario: str, environment: dict[str, str]) -> tuple[int, str]:
    try:
        done = subprocess.run(
            ["molecule", *arguments, "--scenario-name", scenario],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=LIMIT_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        said = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else late.stdout or ""
        return 1, f"{_COLOUR.sub('', said)}\nnot finished after {LIMIT_SECONDS} s\n"
    return done.returncode, _COLOUR.sub("", done.stdout)
