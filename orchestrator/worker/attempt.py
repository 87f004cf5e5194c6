"""One attempt at an operation: what its runs say, why they are to stop, and its deadlines.

The run's event handler only puts into the keeper's queue; the run watches the clock. Whoever wants the run to end sets
a reason; the runner asks for it and kills the process tree.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from orchestrator.domain.errors import Code, LostLease
from orchestrator.domain.models import CANCELLED, Claim, Cleanup, Failure
from orchestrator.domain.phases import Kind, Phase, played
from orchestrator.domain.states import PhaseStatus
from orchestrator.domain.updates import CleanupRecorded, CloneBegun, PhaseEntered, PhasesClosed
from orchestrator.play import runner
from orchestrator.play.events import AddressSeen, Event, to_update
from orchestrator.settings import PROJECT_DIR, Settings
from orchestrator.store import leases
from orchestrator.store.connection import Database
from orchestrator.worker.lease import Keeper

T = TypeVar("T")

_PHASE_GRACE_SECONDS = 10
"""A role ends by itself at its timeout, with a better reason; the watchdog waits a little longer."""
_START_SECONDS = 120
"""How long ansible-playbook may take to its first play; it is half a second on an idle machine."""
_MESSAGE_CHARACTERS = 4000
"""Of a failure's message; one task's own is bounded by the events."""


class Attempt:
    """Used as a context manager around everything that is done for a claimed operation."""

    def __init__(
        self, database: Database, settings: Settings, claim: Claim, claimed_at: float, handing_over: threading.Event
    ) -> None:
        """`claimed_at` is time.monotonic() from before the claim: the lease cannot have begun earlier.

        `handing_over` is set when the worker waits no longer for its operations to end.
        """
        self.database = database
        self.settings = settings
        self.operation = claim.operation
        self._keeper = Keeper(database, settings, self.operation, claimed_at)
        self.lease = self._keeper.lease
        self.address: str | None = None
        self.clone_upid = self.operation.clone_upid
        self.published = claim.published
        """Whether names at the edge may have been made for it."""
        self.was_ready = claim.was_ready
        self.on_phase: Callable[[Phase], None] | None = None
        """Told of every phase that a play enters, in the run's thread; must not block."""
        self._failure: Failure | None = None
        self._stopped: Failure | None = None
        self._undoing = False
        self._handing_over = handing_over
        self._ends_at = claimed_at + claim.left_seconds
        self._phase: tuple[Phase, float] | None = None
        self._played_at = claimed_at

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeper.stop()

    def play(self, phases: Sequence[Phase], variables: dict[str, Any], secrets: dict[str, Any]) -> Failure | None:
        """Run the roles of these phases in one process; returns why it failed, or None.

        Raises LostLease when the operation is somebody else's by now.
        """
        self._failure = self._stopped = None
        self._played_at = time.monotonic()
        try:
            outcome = self._run(phases, variables, secrets)
        except OSError as error:
            return Failure(
                code=Code.INTERNAL,
                phase=phases[0],
                message=f"the worker cannot keep a run's files ({error.strerror}): see to its disk, then order again",
            )
        self._phase = None
        handed_over = self._is_handed_over(outcome)
        if not handed_over:
            self._keeper.put(PhasesClosed(PhaseStatus.OK if outcome == "successful" else PhaseStatus.FAILED))
        self.flush()
        if handed_over:
            self.hand_over()
        if outcome == "successful":
            return None
        return (
            self._stopped
            or self._failure
            or Failure(code=Code.INTERNAL, message="the playbook ended without saying why: see the worker's log")
        )

    def _run(self, phases: Sequence[Phase], variables: dict[str, Any], secrets: dict[str, Any]) -> runner.Outcome:
        return runner.play(
            runner.Run(
                operation_id=self.operation.id,
                fencing_token=self.operation.fencing_token,
                playbooks=playbooks(phases),
                inventory=self.settings.inventory,
                variables=variables,
                secrets=secrets,
                state_dir=self.settings.state_dir,
            ),
            on_event=self._on_event,
            should_stop=self._should_stop,
            lease_ends_at=lambda: self._keeper.ends_at,
        )

    def _is_handed_over(self, outcome: runner.Outcome) -> bool:
        """Whether a run ended because its worker leaves; a signal to the whole process group may end it first."""
        if self._stopped is not None:
            return False
        return outcome == "stopped" or (outcome == "failed" and self._failure is None and self._handing_over.is_set())

    def hand_over(self) -> NoReturn:
        """Put the operation back for another worker. Raises LostLease."""
        self.persist(lambda: leases.hand_over(self.database, self.lease))
        raise LostLease(f"operation {self.operation.id}: handed over, the worker is leaving")

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants it cancelled, and it is not being undone already."""
        return self._keeper.cancelled and not self._undoing

    def enter(self, phase: Phase, message: str) -> None:
        """Begin a phase that is not a play."""
        self._keeper.put(PhaseEntered(phase, message))

    def flush(self) -> None:
        """Wait until everything is written. Raises LostLease."""
        self._keeper.flush()

    def persist(self, write: Callable[[], T]) -> T:
        """Do one write, again while the database is away and the lease holds. Raises LostLease."""
        return self._keeper.persist(write)

    def record(self, cleanup: Cleanup) -> None:
        """Write how far a cleanup has come, in its turn."""
        self._keeper.put(CleanupRecorded(cleanup))

    def begin_undoing(self) -> None:
        """From here on only the phases have a time limit, and a cancel changes nothing any more."""
        self._undoing = True
        self._ends_at = math.inf

    def _should_stop(self) -> bool:
        self._watch_clock()
        return self._keeper.lost.is_set() or self._handing_over.is_set() or self._stopped is not None

    def _on_event(self, event: Event) -> None:
        meaning = to_update(event)
        if isinstance(meaning, AddressSeen):
            self.address = meaning.address
        elif isinstance(meaning, Failure):
            self._failure = meaning if self._failure is None else _joined(self._failure, meaning)
        elif meaning is not None:
            if isinstance(meaning, PhaseEntered):
                self._enter(meaning.phase)
            elif isinstance(meaning, CloneBegun):
                self.clone_upid = meaning.upid
            self._keeper.put(meaning)

    def _enter(self, phase: Phase) -> None:
        self._phase = (phase, time.monotonic())
        self.published = self.published or phase is Phase.PUBLISH_EDGE
        if self.on_phase is not None:
            self.on_phase(phase)

    def _watch_clock(self) -> None:
        """Set a reason to stop when there is one."""
        self._keeper.watch()
        now = time.monotonic()
        if self._stopped is not None:
            return
        phase, since = self._phase or (None, self._played_at)
        if self.cancelled:
            self._stopped = CANCELLED.model_copy(update={"phase": phase})
        elif now > self._ends_at:
            self._stopped = _too_long(phase, "the operation", self.settings.operation_deadline_seconds)
        elif phase is None and now > since + _START_SECONDS:
            self._stopped = _too_long(phase, "the start of the playbook", _START_SECONDS)
        elif phase is not None and now > since + self.settings.timeout(phase) + _PHASE_GRACE_SECONDS:
            self._stopped = _too_long(phase, f"the phase {phase}", self.settings.timeout(phase))


def playbooks(phases: Sequence[Phase]) -> list[Path]:
    """The playbook of a whole kind where the phases are just that, else the phases' own, in order."""
    folder = PROJECT_DIR / "playbooks"
    for kind in Kind:
        if tuple(phases) == played(kind):
            return [folder / f"{kind}.yml"]
    return [folder / "phases" / f"{phase.role}.yml" for phase in phases]


def _joined(first: Failure, further: Failure) -> Failure:
    """The first failure is the cause; what failed after it in the same phase is said too, as long as there is room."""
    if further.phase != first.phase or further.message in first.message:
        return first
    message = f"{first.message}; also: {further.message}"
    if len(message) > _MESSAGE_CHARACTERS:
        message = message[: _MESSAGE_CHARACTERS - 1] + "…"
    return first.model_copy(update={"message": message})


def _too_long(phase: Phase | None, what: str, seconds: float) -> Failure:
    return Failure(
        code=Code.DEADLINE_EXCEEDED,
        phase=phase,
        message=f"{what} took longer than its {seconds:g} s: see what hangs, then order again",
    )
