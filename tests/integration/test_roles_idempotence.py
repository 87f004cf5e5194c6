"""Every role of a phase, alone: check mode foresees what it does and does nothing, a second run finds nothing to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.chaos import picture
from tests.support import containers
from tests.support.containers import Stage
from tests.support.fix_lab import Lab
from tests.support.playbook import Run, play
from tests.unit.test_roles import PHASE_ROLES

ADDRESS, PAYLOAD = "phases/wait_for_ip", "phases/build_agent_payload"
PUBLISH, UNPUBLISH = "phases/publish_edge", "phases/unpublish_edge"
FIRST_VMID = 5300


@dataclass(frozen=True)
class Case:
    """What a role finds, the roles it takes results from in the same command, and the tasks that change something."""

    after: Stage | None = None
    published: bool = False
    along: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


CASES = {
    "clone_container": Case(changes=("Clone the template",)),
    "configure_container": Case(Stage.CLONED, changes=("Configure the container",)),
    "start_container": Case(Stage.CONFIGURED, changes=("Start the container",)),
    "wait_for_ip": Case(Stage.STARTED),
    "build_agent_payload": Case(),
    "send_agent_config": Case(Stage.STARTED, along=(ADDRESS, PAYLOAD), changes=("Send the configuration",)),
    "wait_for_agent_terminal_state": Case(Stage.READY, along=(ADDRESS,)),
    "publish_edge": Case(Stage.READY, along=(ADDRESS,), changes=("Publish it",)),
    "unpublish_edge": Case(Stage.READY, published=True, changes=("Remove the registration and the records",)),
    "stop_container": Case(Stage.READY, changes=("Stop the container",)),
    "delete_container": Case(Stage.CONFIGURED, changes=("Delete the container",)),
}


@dataclass(frozen=True)
class Subject:
    """One role, its case, and an instance of its own in the lab."""

    lab: Lab
    role: str
    vmid: int
    case: Case

    @property
    def server_id(self) -> str:
        return f"s-{self.vmid}"

    def play(self, *arguments: str) -> Run:
        """The role by its phase playbook."""
        return self._play((*self.case.along, f"phases/{self.role}"), *arguments).ok()

    def prepare(self) -> None:
        if self.case.after:
            containers.make(self.lab, self.vmid, self.case.after, server_id=self.server_id)
        if self.case.published:
            self._play((ADDRESS, PUBLISH)).ok()

    def remove(self) -> None:
        if self.lab.inventory()["records"]:
            self._play((UNPUBLISH,)).ok()
        containers.remove(self.lab, self.vmid, server_id=self.server_id)

    def _play(self, playbooks: tuple[str, ...], *arguments: str) -> Run:
        return play(playbooks, self.lab.state_dir, {"vmid": self.vmid, "server_id": self.server_id},
                    arguments=arguments)  # fmt: skip

    def world(self) -> dict[str, Any]:
        """All that a role could change, and every change that was asked for: not how long an agent has been up."""
        there = [one["vmid"] for one in self.lab.inventory()["containers"]]
        taken = vars(picture.take(self.lab, foreign=there))
        return taken | {"agents": {vmid: agent and agent["config"] for vmid, agent in taken["agents"].items()}}


@pytest.fixture(params=PHASE_ROLES)
def subject(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Subject]:
    """Each role in the directory but those that make a template: one without a case fails here."""
    role: str = request.param
    subject = Subject(lab, role, FIRST_VMID + PHASE_ROLES.index(role), CASES[role])
    subject.prepare()
    yield subject
    subject.remove()


def test_changes_nothing_in_check_mode_and_nothing_twice(subject: Subject) -> None:
    fresh = subject.world()
    assert tuple(subject.play("--check", "--diff").changed) == subject.case.changes
    assert subject.world() == fresh

    assert tuple(subject.play().changed) == subject.case.changes
    done = subject.world()
    assert (done == fresh) is not bool(subject.case.changes)

    assert subject.play("--check", "--diff").changed == []
    assert subject.play().changed == []
    assert subject.world() == done
