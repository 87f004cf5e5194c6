"""Undoing what failed or was cancelled: phase by phase, recorded step by step, and what stays is named."""

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.domain.errors import Code
from orchestrator.domain.models import Cleanup, CleanupStep, Failure, OperationRow
from orchestrator.domain.phases import UNDO, Kind, Phase
from orchestrator.domain.states import PhaseStatus
from orchestrator.drivers.secrets import read_secrets
from orchestrator.play.variables import Server
from orchestrator.store import endings
from orchestrator.store.endings import Undone
from orchestrator.worker.attempt import Attempt

_LATE_SECONDS = 60
"""After so long a clone that Proxmox held back when its playbook was killed has come through, or never will: it waits
10 s for the template's lock, and its proxy gives a request up after 30 s."""
_HEARD = frozenset(
    {Code.TEMPLATE_MISSING, Code.VMID_TAKEN, Code.PROXMOX_DENIED, Code.STORAGE_FULL, Code.PROXMOX_TASK_FAILED}
)
"""Failures that say what became of the clone; after any other one may have been accepted that nobody heard of."""


def undo(attempt: Attempt, server: Server | None, failure: Failure) -> None:
    """Undo an operation whose failure is recorded; a step that fails does not keep the next from being tried.

    A machine that its customer wants to look at is only taken off the edge. Raises LostLease, and ConfigurationError
    when it cannot be done for want of the secrets.
    """
    attempt.begin_undoing()
    cleanup = begun(attempt, server, failure)
    if server is not None:
        cleanup = _take_steps(attempt, _as_it_is_now(attempt, server), cleanup)
    close(attempt, server, failure, cleanup)


def begun(attempt: Attempt, server: Server | None, failure: Failure) -> Cleanup:
    """The cleanup as an earlier attempt left it, or as it is to be done."""
    operation = attempt.operation
    made = server is not None and not is_untouched(attempt)
    return operation.cleanup or planned(operation.kind, kept=is_kept(operation, failure), made=made)


def is_untouched(attempt: Attempt) -> bool:
    """Whether there is nothing to undo: who started what ran already shall not find it stopped."""
    return attempt.operation.kind is Kind.START and attempt.was_ready


def close(attempt: Attempt, server: Server | None, failure: Failure, cleanup: Cleanup) -> None:
    """Write the end of an undone operation. Raises LostLease."""
    failed = [step.name for step in cleanup.steps if step.status is not PhaseStatus.OK]
    leaked = tuple(_what_leaked(name, server) for name in failed) if server else ()
    certain = server is None or not may_come_late(failure)
    undone = Undone(
        kind=attempt.operation.kind,
        cleanup=cleanup.model_copy(
            update={"leaked": leaked, "status": PhaseStatus.FAILED if leaked else PhaseStatus.OK}
        ),
        attend_seconds=attempt.settings.cleanup_retry_seconds if leaked else _LATE_SECONDS,
        quarantine_seconds=attempt.settings.quarantine_seconds,
        certain=certain,
        kept=is_kept(attempt.operation, failure),
        untouched=is_untouched(attempt),
        cancelled=failure.code is Code.CANCELLED,
    )
    attempt.persist(
        lambda: endings.finish_undone(attempt.database, attempt.operation.instance_id, attempt.lease, undone)
    )


def planned(kind: Kind, *, kept: bool, made: bool) -> Cleanup:
    """The steps of an undoing that has not begun."""
    phases = () if not made else (Phase.UNPUBLISH_EDGE,) if kept else UNDO[kind]
    steps = tuple(CleanupStep(name=phase, status=PhaseStatus.PENDING) for phase in phases)
    return Cleanup(status=PhaseStatus.RUNNING, steps=steps)


def stepped(cleanup: Cleanup, phase: Phase, status: PhaseStatus, message: str | None = None) -> Cleanup:
    """The cleanup with one step at this status; whatever ran before it is done."""
    steps = []
    for step in cleanup.steps:
        if step.name == phase:
            steps.append(CleanupStep(name=phase, status=status, message=message))
        elif step.status is PhaseStatus.RUNNING:
            steps.append(step.model_copy(update={"status": PhaseStatus.OK}))
        else:
            steps.append(step)
    return cleanup.model_copy(update={"steps": tuple(steps)})


def unfinished(cleanup: Cleanup) -> tuple[Phase, ...]:
    """The steps still to be taken: one that was cut off is taken again, one that failed is not."""
    return tuple(step.name for step in cleanup.steps if step.status in (PhaseStatus.PENDING, PhaseStatus.RUNNING))


def is_kept(operation: OperationRow, failure: Failure) -> bool:
    """Whether there is a machine to keep, and its customer wants it kept."""
    made_nothing = failure.phase in (None, Phase.ALLOCATE_VMID, Phase.CLONE_CONTAINER)
    wanted = operation.spec.get("on_failure") == "keep" and failure.code is not Code.CANCELLED
    return operation.kind is Kind.PROVISION and wanted and not made_nothing


def may_come_late(failure: Failure) -> bool:
    """Whether a clone may have been asked for that nobody has heard of again."""
    while_cloning = failure.phase in (None, Phase.ALLOCATE_VMID, Phase.CLONE_CONTAINER)
    return while_cloning and failure.code not in _HEARD


def _take_steps(attempt: Attempt, server: Server, cleanup: Cleanup) -> Cleanup:
    while remaining := unfinished(cleanup):
        progress = _Progress(attempt, cleanup)
        attempt.on_phase = progress.enter
        failure = attempt.play(
            remaining, server.variables(attempt.settings), read_secrets(attempt.settings.secrets_path)
        )
        attempt.on_phase = None
        cleanup = ended(progress.cleanup, remaining, failure)
        attempt.record(cleanup)
    return cleanup


def _as_it_is_now(attempt: Attempt, server: Server) -> Server:
    return replace(server, published=attempt.published, clone_upid=attempt.clone_upid)


def ended(cleanup: Cleanup, played: Sequence[Phase], failure: Failure | None) -> Cleanup:
    """The cleanup after a play of these phases that ended so."""
    done = played if failure is None else played[: _failed_at(failure, played)]
    for phase in done:
        cleanup = stepped(cleanup, phase, PhaseStatus.OK)
    if failure is None:
        return cleanup
    # A container that is not ours means that ours is not there: nothing of us is left, and theirs is untouched.
    gone = failure.code is Code.NOT_OURS
    status = PhaseStatus.OK if gone else PhaseStatus.FAILED
    return stepped(cleanup, played[_failed_at(failure, played)], status, failure.message)


class _Progress:
    """Records each step of a play as it begins."""

    def __init__(self, attempt: Attempt, cleanup: Cleanup) -> None:
        self._attempt = attempt
        self.cleanup = cleanup

    def enter(self, phase: Phase) -> None:
        """A step begins."""
        self.cleanup = stepped(self.cleanup, phase, PhaseStatus.RUNNING)
        self._attempt.record(self.cleanup)


def _failed_at(failure: Failure, played: Sequence[Phase]) -> int:
    return next((index for index, phase in enumerate(played) if phase == failure.phase), 0)


def _what_leaked(phase: Phase, server: Server) -> str:
    return f"edge:{server.hostname}" if phase is Phase.UNPUBLISH_EDGE else f"container:{server.vmid}"
