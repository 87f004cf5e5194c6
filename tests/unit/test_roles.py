"""Every role keeps the promises that all roles make: one name everywhere, checked variables, a true README."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.domain.phases import PLAYED, Phase

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
TEMPLATE_ROLES = {"install_agent", "seal_template"}
"""What makes a template; the other roles are a phase each."""
PHASE_ROLES = sorted(set(ROLES) - TEMPLATE_ROLES)
# Facts and results that later phases read; everything else of a role starts with its name.


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def options(role: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"][
        "options"
    ]
    return found


def test_every_played_phase_has_a_role_and_every_role_a_phase() -> None:
    played_roles = {phase.role for phase in PLAYED}
    assert set(PHASE_ROLES) == played_roles


@pytest.mark.parametrize("role", PHASE_ROLES)
def test_phase_playbook_is_one_play_with_one_role_named_after_the_phase(role: str) -> None:
    (play,) = load(f"playbooks/phases/{role}.yml")
    assert play["name"] == Phase(role.replace("_", "-")).value
    assert (play["hosts"], play["gather_facts"]) == ("localhost", False)
    (entry,) = play["roles"]
    assert entry["role"] == role
    assert {"tasks", "pre_tasks", "post_tasks", "vars"}.isdisjoint(play)


@pytest.mark.parametrize("role", PHASE_ROLES)
def test_phase_playbook_maps_exactly_variables_of_the_role(role: str) -> None:
    (play,) = load(f"playbooks/phases/{role}.yml")
    mapped = set(play["roles"][0].get("vars", {}))
    required = {name for name, option in options(role).items() if option.get("required")}
    assert required <= mapped <= set(options(role))
    # Extra variables override the timeout by its own name; a mapping would be in their way.
    assert f"{role}_timeout" not in mapped


@pytest.mark.parametrize("role", ROLES)
def test_interface_variables_start_with_the_role(role: str) -> None:
    assert all(name.startswith(f"{role}_") for name in options(role))


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_those_of_the_argument_specs(role: str) -> None:
    defaults = ROOT / "roles" / role / "defaults" / "main.yml"
    given = load(f"roles/{role}/defaults/main.yml") if defaults.exists() else {}
    declared = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert given == declared


@pytest.mark.parametrize("role", PHASE_ROLES)
def test_default_time_limit_is_the_settings_one(role: str) -> None:
    declared = options(role).get(f"{role}_timeout")
    limit = Phase(role.replace("_", "-")).limit_seconds
    # Building the payload asks nobody, so it has nothing to limit.
    assert (declared and declared["default"]) == (None if role == "build_agent_payload" else limit)


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_is_typed_explained_and_either_required_or_has_a_default(role: str) -> None:
    for name, option in options(role).items():
        assert option.get("type"), name
        assert option.get("description"), name
        assert bool(option.get("required")) != ("default" in option), name


def test_generated_pages_are_up_to_date() -> None:
    check = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, f"run `make docs`:\n{check.stdout}{check.stderr}"
