"""How a failed or cancelled operation is undone: its steps, how far they have come, and what they leave behind."""

from collections.abc import Sequence

from orchestrator.domain.errors import Code
from orchestrator.domain.models import Cleanup, CleanupStep, Failure, OperationRow
from orchestrator.domain.operations import OperationKind
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import PhaseStatus

_HEARD = frozenset(
    {Code.TEMPLATE_MISSING, Code.VMID_TAKEN, Code.PROXMOX_DENIED, Code.STORAGE_FULL, Code.PROXMOX_TASK_FAILED}
)
"""Failures that say what became of the clone. After any other one, Proxmox may have accepted a clone unheard."""


def plan_cleanup(phases: Sequence[Phase]) -> Cleanup:
    """The cleanup that takes these steps and has not begun."""
    steps = tuple(CleanupStep(name=phase, status=PhaseStatus.PENDING) for phase in phases)
    return Cleanup(status=PhaseStatus.RUNNING, steps=steps)


def choose_steps(kind: OperationKind, *, kept: bool, made: bool) -> tuple[Phase, ...]:
    """What is to be undone: nothing where nothing was made, only the edge where the machine is kept, else all of it."""
    if not made:
        return ()
    return (Phase.UNPUBLISH_EDGE,) if kept else kind.undo


def mark_step(cleanup: Cleanup, phase: Phase, status: PhaseStatus, message: str | None = None) -> Cleanup:
    """The cleanup with one step at this status. A step that ran before it is done."""
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
    """The steps still to be taken: one that was cut off is taken again, one that failed is not."""
    unfinished = (PhaseStatus.PENDING, PhaseStatus.RUNNING)
    return tuple(Phase(step.name) for step in cleanup.steps if step.status in unfinished)


def mark_played(cleanup: Cleanup, played: Sequence[Phase], failure: Failure | None) -> Cleanup:
    """The cleanup after a play of these steps, which succeeded or ended with this failure."""
    failed_at = next((index for index, phase in enumerate(played) if failure and phase == failure.phase), 0)
    for phase in played if failure is None else played[:failed_at]:
        cleanup = mark_step(cleanup, phase, PhaseStatus.OK)
    if failure is None:
        return cleanup
    # A container that is not ours means that ours is not there: nothing of us is left, and theirs is untouched.
    status = PhaseStatus.OK if failure.code is Code.NOT_OURS else PhaseStatus.FAILED
    return mark_step(cleanup, played[failed_at], status, failure.message)


def close_cleanup(cleanup: Cleanup, *, hostname: str, vmid: int) -> Cleanup:
    """The cleanup at its end, with the names of what its steps left behind."""
    failed = [step.name for step in cleanup.steps if step.status is not PhaseStatus.OK]
    leaked = tuple(
        dict.fromkeys(f"edge:{hostname}" if name is Phase.UNPUBLISH_EDGE else f"container:{vmid}" for name in failed)
    )
    status = PhaseStatus.FAILED if leaked else PhaseStatus.OK
    return cleanup.model_copy(update={"leaked": leaked, "status": status})


def is_kept(kind: OperationKind, operation: OperationRow, failure: Failure) -> bool:
    """Whether there is a machine to keep, and its customer wants it kept."""
    wanted = operation.spec.get("on_failure") == "keep" and failure.code is not Code.CANCELLED
    return kind.makes_machine and wanted and not precedes_machine(failure)


def may_come_late(failure: Failure) -> bool:
    """Whether a clone may have been asked for that nobody has heard of again."""
    return precedes_machine(failure) and failure.code not in _HEARD


def precedes_machine(failure: Failure) -> bool:
    """Whether it failed before it was certain that there is a machine."""
    return failure.phase is None or Phase(failure.phase).precedes_machine
