"""What is undone, in which steps, and what is said of it: decisions without a worker."""

from typing import Any
from uuid import uuid4

import pytest

from orchestrator.domain.cleanup import (
    choose_steps,
    close_cleanup,
    close_without_vmid,
    is_kept,
    mark_played,
    mark_step,
    may_come_late,
    plan_cleanup,
    remaining_steps,
)
from orchestrator.domain.errors import Code
from orchestrator.domain.models import Cleanup, CleanupStep, Failure, OperationRow
from orchestrator.domain.operations import KINDS, PROVISION, START, OperationKind
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.domain.states import OperationStatus, PhaseStatus

STEPS = PROVISION.undo


def row(**changes: Any) -> OperationRow:
    given: dict[str, Any] = dict.fromkeys(OperationRow.model_fields)
    given |= {
        "id": uuid4(), "instance_id": uuid4(), "request_id": uuid4(), "customer_id": "c", "kind": PROVISION.name,
        "status": OperationStatus.RUNNING, "attempt": 1, "ctype": "game", "spec": {"on_failure": "keep"},
        "fencing_token": 1, "created_at": "2026-01-01T00:00:00Z", "last_seq": 0, "losses": 0, "background": False,
    }  # fmt: skip
    return OperationRow.model_validate(given | changes)


def failure(phase: Phase | None, code: Code = Code.AGENT_ERROR) -> Failure:
    return Failure(code=code, phase=phase, message="it failed")


def planned(kind: OperationKind, *, kept: bool, made: bool) -> Cleanup:
    return plan_cleanup(choose_steps(kind, kept=kept, made=made))


def statuses(cleanup: Cleanup) -> list[str]:
    return [step.status for step in cleanup.steps]


# what is kept


@pytest.mark.parametrize(
    ("phase", "code", "kept"),
    [
        (Phase.WAIT_FOR_AGENT, Code.AGENT_ERROR, True),
        (Phase.CONFIGURE_CONTAINER, Code.STORAGE_FULL, True),
        (Phase.CLONE_CONTAINER, Code.TEMPLATE_MISSING, False),
        (Phase.ALLOCATE_VMID, Code.VMID_TAKEN, False),
        (None, Code.INTERNAL, False),
        (Phase.WAIT_FOR_AGENT, Code.CANCELLED, False),
    ],
)
def test_keeps_a_machine_that_there_is_and_that_is_wanted(phase: Phase | None, code: Code, kept: bool) -> None:
    assert is_kept(PROVISION, row(), failure(phase, code)) is kept
    assert not is_kept(PROVISION, row(spec={"on_failure": "cleanup"}), failure(phase, code))
    assert not is_kept(START, row(kind=START.name), failure(phase, code))


# steps


def test_plans_the_steps_of_each_kind() -> None:
    assert remaining_steps(planned(PROVISION, kept=False, made=True)) == STEPS
    assert remaining_steps(planned(PROVISION, kept=True, made=True)) == (Phase.UNPUBLISH_EDGE,)
    assert remaining_steps(planned(PROVISION, kept=False, made=False)) == ()
    assert remaining_steps(planned(START, kept=False, made=True)) == (Phase.UNPUBLISH_EDGE, Phase.STOP_CONTAINER)


def test_knows_a_cleanup_that_keeps_its_machine() -> None:
    assert planned(PROVISION, kept=True, made=True).keeps_machine
    for kind in (kind for kind in KINDS.values() if kind.undo):
        assert not planned(kind, kept=False, made=True).keeps_machine
        assert not planned(kind, kept=False, made=False).keeps_machine


def test_goes_on_at_the_step_that_was_cut_off() -> None:
    cleanup = planned(PROVISION, kept=False, made=True)
    cleanup = mark_step(cleanup, Phase.UNPUBLISH_EDGE, PhaseStatus.RUNNING)
    cleanup = mark_step(cleanup, Phase.STOP_CONTAINER, PhaseStatus.RUNNING)
    assert statuses(cleanup) == ["ok", "running", "pending"]
    assert remaining_steps(cleanup) == STEPS[1:]


def test_takes_the_steps_after_one_that_failed() -> None:
    cleanup = planned(PROVISION, kept=False, made=True)
    cleanup = mark_played(cleanup, STEPS, failure(Phase.STOP_CONTAINER, Code.PROXMOX_UNREACHABLE))
    assert statuses(cleanup) == ["ok", "failed", "pending"]
    assert remaining_steps(cleanup) == (Phase.DELETE_CONTAINER,)
    cleanup = mark_played(cleanup, remaining_steps(cleanup), None)
    assert statuses(cleanup) == ["ok", "failed", "ok"]
    assert cleanup.steps[1].message == "it failed"


def test_takes_a_failure_without_a_phase_for_one_of_the_first_step() -> None:
    cleanup = mark_played(planned(PROVISION, kept=False, made=True), STEPS, failure(None, Code.INTERNAL))
    assert statuses(cleanup) == ["failed", "pending", "pending"]


def test_takes_somebody_elses_container_for_the_absence_of_ours() -> None:
    cleanup = mark_played(
        planned(PROVISION, kept=False, made=True), STEPS, failure(Phase.STOP_CONTAINER, Code.NOT_OURS)
    )
    assert statuses(cleanup) == ["ok", "ok", "pending"]


def test_leaves_finished_steps_alone() -> None:
    done = CleanupStep(name=Phase.UNPUBLISH_EDGE, status=PhaseStatus.FAILED, message="x")
    cleanup = Cleanup(status=PhaseStatus.RUNNING, steps=(done,))
    assert remaining_steps(cleanup) == ()


def test_case_a11_names_each_thing_that_is_left_once() -> None:
    cleanup = planned(PROVISION, kept=False, made=True)
    for phase in STEPS:
        cleanup = mark_step(cleanup, phase, PhaseStatus.FAILED, "it failed")
    assert close_cleanup(cleanup, hostname="mc", vmid=6010).leaked == ("edge:mc", "container:6010")
    published = [Publication("technitium", "internal/lab", kind, "mc.lab", "192.0.2.1") for kind in ("A", "TXT")]
    assert close_without_vmid(cleanup, published).leaked == ("edge:mc.lab",)


# what may come late


@pytest.mark.parametrize(
    ("phase", "code", "late"),
    [
        (Phase.CLONE_CONTAINER, Code.CANCELLED, True),
        (None, Code.WORKER_LOST, True),
        (Phase.CLONE_CONTAINER, Code.PROXMOX_UNREACHABLE, True),
        (Phase.CLONE_CONTAINER, Code.CLONE_LOCKED, True),
        (Phase.CLONE_CONTAINER, Code.TEMPLATE_MISSING, False),
        (Phase.CLONE_CONTAINER, Code.VMID_TAKEN, False),
        (Phase.CLONE_CONTAINER, Code.STORAGE_FULL, False),
        (Phase.WAIT_FOR_AGENT, Code.CANCELLED, False),
    ],
)
def test_expects_a_clone_to_come_late_unless_its_end_is_known(phase: Phase | None, code: Code, late: bool) -> None:
    assert may_come_late(failure(phase, code)) is late
