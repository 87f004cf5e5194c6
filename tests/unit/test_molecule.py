"""Every role has its scenario, every scenario a breakage it must notice, and the document tells of each."""

import pytest

from tests.molecule.__main__ import main
from tests.molecule.breakages import BREAKAGES, Breakage, apply_to_copy, break_file
from tests.molecule.scenarios import ROOT, SCENARIOS, find_failure, is_in_container
from tests.unit.test_docs import read, rows, section
from tests.unit.test_roles import ROLES, TEMPLATE_ROLES

WHOLE_TEMPLATE = "template"
"""The scenario of playbooks/template.yml, which is no role."""

FAILED_VERIFY = """
INFO     stop_container ➜ check: Executing
TASK [stop_container : Stop the container] *************************************
ok: [localhost]
INFO     stop_container ➜ check: Executed: Successful
INFO     stop_container ➜ verify: Executing
TASK [Ask the lab what there is] ***********************************************
ok: [localhost]
TASK [It is there, stopped, and nothing of it runs] ****************************
[ERROR]: Task failed: Action failed: Assertion failed
fatal: [localhost]: FAILED! =>
    assertion: container.status == "stopped"
ERROR    stop_container ➜ verify: Executed: Failed
INFO     stop_container ➜ destroy: Executing
TASK [Stop the lab] ************************************************************
"""
FAILED_IDEMPOTENCE = """
INFO     install_agent ➜ idempotence: Executing
TASK [install_agent : Make the directories] ************************************
ok: [instance]
TASK [install_agent : Tell it about the token] *********************************
changed: [instance]
TASK [install_agent : Start it at every boot] **********************************
ok: [instance]
PLAY RECAP *********************************************************************
CRITICAL Idempotence test failed because of the following tasks:
*  => install_agent : Tell it about the token
*  => install_agent : Start it at every boot
ERROR    install_agent ➜ idempotence: Executed: Failed
"""


def test_has_a_scenario_for_every_role() -> None:
    assert set(SCENARIOS) == {*ROLES, WHOLE_TEMPLATE}


def test_acts_inside_a_container_exactly_for_what_makes_a_template() -> None:
    assert {name for name in SCENARIOS if is_in_container(name)} == {*TEMPLATE_ROLES, WHOLE_TEMPLATE}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_verifies_what_every_scenario_has_done(scenario: str) -> None:
    assert (ROOT / "molecule" / scenario / "verify.yml").is_file()


def test_breaks_what_every_scenario_is_for() -> None:
    assert {breakage.scenario for breakage in BREAKAGES} == set(SCENARIOS)


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: f"{breakage.scenario}: {breakage.does}")
def test_breaks_a_copy_of_the_roles_and_no_more(breakage: Breakage) -> None:
    before = (ROOT / breakage.file).read_text()
    with apply_to_copy(breakage) as roles:
        assert (roles.parent / breakage.file).read_text() == break_file(breakage) != before
    assert (ROOT / breakage.file).read_text() == before
    assert not roles.exists()


def test_refuses_a_breakage_whose_place_is_gone() -> None:
    gone = Breakage("template", "", "Makefile", "no such words", "", "verify", "")
    with pytest.raises(ValueError, match="0 times, not once"):
        break_file(gone)


def test_tells_of_every_breakage_and_of_no_other() -> None:
    told = rows(section(read("docs/testing.md"), "### Broken on purpose"))
    assert told == [[f"`{one.scenario}`", one.does, f"{one.step}: {one.task}"] for one in BREAKAGES]


@pytest.mark.parametrize(
    ("output", "step", "task"),
    [
        (FAILED_VERIFY, "verify", "It is there, stopped, and nothing of it runs"),
        (FAILED_IDEMPOTENCE, "idempotence", "install_agent : Tell it about the token"),
    ],
)
def test_finds_step_and_task_that_failed(output: str, step: str, task: str) -> None:
    found_step, found_task, told = find_failure(output)
    assert (found_step, found_task) == (step, task)
    assert task in told
    assert "destroy" not in told


def test_shows_everything_when_no_step_failed() -> None:
    assert find_failure("CRITICAL no such thing\n") == ("", "", "CRITICAL no such thing\n")


def test_names_the_scenarios_when_there_is_none_of_that_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clone_container", "nonsense"]) == 2
    assert capsys.readouterr().err == f"molecule: no scenario nonsense: there are {', '.join(SCENARIOS)}\n"
