"""Undoes an operation that failed or was cancelled, step by step. Each step is recorded as it begins and as it ends."""

from orchestrator.domain import cleanup as cleanups
from orchestrator.domain.errors import Code
from orchestrator.domain.models import Cleanup, Failure
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import PhaseStatus
from orchestrator.play.variables import Server
from orchestrator.store import endings
from orchestrator.store.endings import Undone
from orchestrator.worker.attempt import Attempt, Plan

_LATE_SECONDS = 60
"""The seconds after which a clone, whose playbook was killed before Proxmox answered, has either begun or never will.
Proxmox waits 10 s for the template's lock, and its proxy gives a request up after 30 s."""


def undo(attempt: Attempt, server: Server | None, failure: Failure) -> None:
    """Undo an operation whose failure is recorded. When a step fails, the next one is tried all the same.

    A machine that its customer wants to look at is only unpublished. Raises LostLease, and WorkerUnfit when this
    worker cannot undo anything.
    """
    cleanup = _begin(attempt, server, failure)
    while server is not None and (remaining := cleanups.remaining_steps(cleanup)):
        progress = _Progress(attempt, cleanup)
        outcome = attempt.play(Plan.of_phases(remaining), server, undoing=True, on_phase=progress.enter)
        server = outcome.apply_to(server)
        cleanup = cleanups.mark_played(progress.cleanup, remaining, outcome.failure)
        attempt.record(cleanup)
    _finish(attempt, server, failure, cleanup)


def close(attempt: Attempt, server: Server | None, failure: Failure) -> None:
    """End the undoing without doing more. What is not done is named as left behind. Raises LostLease."""
    _finish(attempt, server, failure, _begin(attempt, server, failure))


def _begin(attempt: Attempt, server: Server | None, failure: Failure) -> Cleanup:
    """Return the cleanup as an earlier attempt left it, or a new one."""
    kept = cleanups.is_kept(attempt.kind, attempt.operation, failure)
    made = server is not None and not attempt.leaves_untouched
    planned = cleanups.plan_cleanup(cleanups.choose_steps(attempt.kind, kept=kept, made=made))
    return attempt.operation.cleanup or planned


def _close(attempt: Attempt, server: Server | None, cleanup: Cleanup) -> Cleanup:
    """Return the ended cleanup, which names what is left behind."""
    if server is None:
        return cleanups.close_without_vmid(cleanup, attempt.claim.publications)
    if server.published is not None:
        cleanup = cleanups.mark_published(cleanup, server.published)
    return cleanups.close_cleanup(cleanup, hostname=server.hostname, vmid=server.vmid)


def _finish(attempt: Attempt, server: Server | None, failure: Failure, cleanup: Cleanup) -> None:
    """Write the end of an undone operation."""
    closed = _close(attempt, server, cleanup)
    undone = Undone(
        kind=attempt.kind,
        cleanup=closed,
        attend_seconds=attempt.settings.cleanup_retry_seconds if closed.leaked else _LATE_SECONDS,
        quarantine_seconds=attempt.settings.quarantine_seconds,
        certain=server is None or not cleanups.may_come_late(failure),
        kept=cleanups.is_kept(attempt.kind, attempt.operation, failure),
        untouched=attempt.leaves_untouched,
        cancelled=failure.code is Code.CANCELLED,
    )
    attempt.persist(
        lambda: endings.finish_undone(attempt.database, attempt.operation.instance_id, attempt.lease, undone)
    )


class _Progress:
    """Records each step of a play as it begins."""

    def __init__(self, attempt: Attempt, cleanup: Cleanup) -> None:
        self._attempt = attempt
        self.cleanup = cleanup

    def enter(self, phase: Phase) -> None:
        """Record that a step begins."""
        self.cleanup = cleanups.mark_step(self.cleanup, phase, PhaseStatus.RUNNING)
        self._attempt.record(self.cleanup)
