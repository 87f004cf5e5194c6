"""Plans the cleanup of a failed or cancelled operation, and records how far it has come and what it leaves behind."""

from collections.abc import Sequence

from orchestrator.domain.errors import Code
from orchestrator.domain.models import Cleanup, CleanupStep, Failure, OperationRow
from orchestrator.domain.operations import OperationKind
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.domain.states import PhaseStatus

_TELLING_CODES = frozenset(
    {Code.TEMPLATE_MISSING, Code.VMID_TAKEN, Code.PROXMOX_DENIED, Code.STORAGE_FULL, Code.PROXMOX_TASK_FAILED}
)
"""Failures that say what became of the clone. After any other one, Proxmox may have accepted a clone unnoticed."""


def plan_cleanup(phases: Sequence[Phase]) -> Cleanup:
    """Return a cleanup with these steps, none of which has begun."""
    steps = tuple(CleanupStep(name=phase, status=PhaseStatus.PENDING) for phase in phases)
    return Cleanup(status=PhaseStatus.RUNNING, steps=steps)


def choose_steps(kind: OperationKind, *, kept: bool, made: bool) -> tuple[Phase, ...]:
    """Choose the steps of a cleanup.

    There are none when nothing was made. A machine that is kept is only unpublished. Everything else is undone wholly.
    """
    if not made:
        return ()
    return (Phase.UNPUBLISH_EDGE,) if kept else kind.undo


def mark_step(cleanup: Cleanup, phase: Phase, status: PhaseStatus, message: str | None = None) -> Cleanup:
    """Return the cleanup with one step at this status. A step that was running before it is marked as done."""
    steps = []
    for step in cleanup.steps:
        if step.name == phase:
            steps.append(CleanupStep(name=phase, status=status, message=message))
        elif step.status is PhaseStatus.RUNNING:
            steps.append(step.model_copy(update={"status": PhaseStatus.OK}))
        else:
            steps.append(step)
    return cleanup.model_copy(update={"steps": tuple(steps)})


def remaining_steps(cleanup: Cleanup) -> tuple[Phase, ...]:
    """Return the steps still to be taken. A step that was interrupted is taken again; a step that failed is not."""
    unfinished = (PhaseStatus.PENDING, PhaseStatus.RUNNING)
    return tuple(Phase(step.name) for step in cleanup.steps if step.status in unfinished)


def mark_played(cleanup: Cleanup, played: Sequence[Phase], failure: Failure | None) -> Cleanup:
    """Return the cleanup after a play of these steps, which ended with this failure or, when it is None, succeeded."""
    failed_at = next((index for index, phase in enumerate(played) if failure and phase == failure.phase), 0)
    for phase in played if failure is None else played[:failed_at]:
        cleanup = mark_step(cleanup, phase, PhaseStatus.OK)
    if failure is None:
        return cleanup
    # When the container is somebody else's, ours is gone: nothing of ours is left, and theirs is untouched.
    status = PhaseStatus.OK if failure.code is Code.NOT_OURS else PhaseStatus.FAILED
    return mark_step(cleanup, played[failed_at], status, failure.message)


def close_cleanup(cleanup: Cleanup, *, hostname: str, vmid: int) -> Cleanup:
    """Return the ended cleanup, which names what its steps left behind."""
    failed = [step.name for step in cleanup.steps if step.status is not PhaseStatus.OK]
    leaked = tuple(
        dict.fromkeys(f"edge:{hostname}" if name is Phase.UNPUBLISH_EDGE else f"container:{vmid}" for name in failed)
    )
    status = PhaseStatus.FAILED if leaked else PhaseStatus.OK
    return cleanup.model_copy(update={"leaked": leaked, "status": status})


def close_without_vmid(cleanup: Cleanup, publications: Sequence[Publication]) -> Cleanup:
    """Return the ended cleanup of an instance that has no VMID any more. Only these publications may be left of it."""
    leaked = tuple(dict.fromkeys(f"edge:{publication.name}" for publication in publications))
    status = PhaseStatus.FAILED if leaked else PhaseStatus.OK
    return cleanup.model_copy(update={"leaked": leaked, "status": status})


def find_published(hostname: str | None, publications: Sequence[Publication], *, whole: bool) -> Failure | None:
    """Return why an instance cannot be forgotten yet, or None when nothing of it is published.

    As long as something is, the instance keeps its VMID. `publications` is what its record holds; a record that is not
    `whole` may not yet hold what an earlier release published.
    """
    if not whole:
        message = (
            f"what an earlier release published of {hostname} is not recorded yet: "
            "the worker's log says what is missing for it in the inventory or the catalogue"
        )
    elif publications:
        named = ", ".join(f"{each.type} {each.name} at {each.place}" for each in publications)
        message = f"these are recorded as published, and no playbook has said that they were taken back: {named}"
    else:
        return None
    return Failure(code=Code.INTERNAL, phase=Phase.UNPUBLISH_EDGE, message=message)


def mark_published(cleanup: Cleanup, published: Failure) -> Cleanup:
    """Return the cleanup whose step that unpublishes ended well, but left something published."""
    failed = {"status": PhaseStatus.FAILED, "message": published.message}
    steps = tuple(
        step.model_copy(update=failed) if step.name is Phase.UNPUBLISH_EDGE and step.status is PhaseStatus.OK else step
        for step in cleanup.steps
    )
    return cleanup.model_copy(update={"steps": steps})


def is_kept(kind: OperationKind, operation: OperationRow, failure: Failure) -> bool:
    """Return whether there is a machine to keep and the customer wants it kept."""
    wanted = operation.spec.get("on_failure") == "keep" and failure.code is not Code.CANCELLED
    return kind.makes_machine and wanted and not precedes_machine(failure)


def may_come_late(failure: Failure) -> bool:
    """Return whether Proxmox may still be making a clone whose acceptance nobody heard of."""
    return precedes_machine(failure) and failure.code not in _TELLING_CODES


def precedes_machine(failure: Failure) -> bool:
    """Return whether the operation failed before it was certain that its machine exists."""
    return failure.phase is None or Phase(failure.phase).precedes_machine
