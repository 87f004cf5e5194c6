"""Watches one run: it takes the run's events and decides when the run must stop.

The event handler only puts updates into the lease's queue. The runner asks regularly whether the run must stop, and
then kills its processes.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from orchestrator.domain.errors import Code
from orchestrator.domain.models import CANCELLED, Failure
from orchestrator.domain.operations import OperationKind
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.domain.updates import CloneBegun, PhaseEntered, PublicationsRecorded, PublicationsStruck
from orchestrator.play.events import AddressSeen, Event, Heard, to_updates
from orchestrator.play.run_directory import RecordedFile
from orchestrator.settings import Settings
from orchestrator.worker.lease import HeldLease

_PHASE_GRACE_SECONDS = 10
"""The seconds beyond the limit of a phase that the watch waits. The role ends at the limit, with a better reason."""
_START_SECONDS = 120
"""How long ansible-playbook may take until its first play. On an idle machine it takes half a second."""
_MESSAGE_CHARACTERS = 4000
"""The longest message of a failure that is joined from several tasks."""


class Watch:
    """The watch of one run."""

    def __init__(
        self,
        held: HeldLease,
        settings: Settings,
        handing_over: threading.Event,
        recorded: RecordedFile,
        publications: Iterable[Publication],
        *,
        kind: OperationKind,
        ends_at: float = math.inf,
        cancellable: bool = False,
        on_phase: Callable[[Phase], object] | None = None,
    ) -> None:
        """Begin to watch.

        `handing_over` is set when a leaving worker no longer waits for its operations. `ends_at` is a time of
        time.monotonic(). `on_phase` is called with every phase that begins, and must not block.
        """
        self.failure: Failure | None = None
        """Why the run failed, in its own words."""
        self.stopped: Failure | None = None
        """Why the run was made to stop, unless this worker is at fault."""
        self.fault: str | None = None
        """Why the run was made to stop, when this worker is at fault."""
        self.address: str | None = None
        self.clone_upid: str | None = None
        self.publications = list(publications)
        self.heard = Heard()
        self.phase: Phase | None = None
        """The phase that runs, or None before the first one."""
        self._held = held
        self._settings = settings
        self._handing_over = handing_over
        self._recorded = recorded
        self._kind = kind
        self._ends_at = ends_at
        self._cancellable = cancellable
        self._on_phase = on_phase
        self._since = time.monotonic()

    def hear(self, event: Event) -> None:
        """Take an event of the run, and put what it tells into the lease's queue. Raises OSError when it is damaged."""
        self.heard.hear(event)
        for update in to_updates(event):
            match update:
                case AddressSeen(address):
                    self.address = address
                    continue
                case Failure():
                    self.failure = update if self.failure is None else _join(self.failure, update)
                    continue
                case PhaseEntered(phase):
                    self._enter(phase)
                case CloneBegun(upid):
                    self.clone_upid = upid
                case PublicationsStruck(publications):
                    self.publications = [each for each in self.publications if each not in publications]
            self._held.put(update)
            if isinstance(update, PublicationsRecorded):
                self._record(update.publications)

    def should_stop(self) -> bool:
        """Look at the clock and at the lease. Returns whether the run must stop.

        Raises OSError when what was recorded could not be told to the run's tasks.
        """
        self._held.watch()
        if self._recorded.error is not None:
            raise self._recorded.error
        if self.stopped is None:
            self.stopped = self._reason()
        if self.phase is None and time.monotonic() > self._since + _START_SECONDS:
            self.fault = f"ansible-playbook came to no play within {_START_SECONDS} s"
        is_over = self.stopped is not None or self.fault is not None
        return self._held.lost.is_set() or self._handing_over.is_set() or is_over

    def find_fault(self, phases: Sequence[Phase], *, successful: bool) -> str | None:
        """Return why this worker is at fault for how a run of these phases ended, or None when it is not.

        An order can only fail a task. Whatever else ends a run, such as a full disk or a signal, is of the worker.
        """
        fault = self.fault or self.heard.find_fault(phases, successful=successful)
        if fault is not None:
            return fault
        if not successful and self.failure is None:
            return f"ansible-playbook ended without a failed task: {self.heard.quote()}"
        if successful and Phase.WAIT_FOR_IP in phases and self.address is None:
            return "ansible-playbook ended well, but the event that tells the address did not arrive"
        return None

    def _enter(self, phase: Phase) -> None:
        self.phase, self._since = phase, time.monotonic()
        if self._on_phase is not None:
            self._on_phase(phase)

    def _record(self, publications: Iterable[Publication]) -> None:
        """Let the run's tasks make these publications once they are in the database."""
        self.publications = list(dict.fromkeys([*self.publications, *publications]))
        known = tuple(self.publications)
        self._held.when_written(lambda: self._recorded.write(known))

    def _reason(self) -> Failure | None:
        now, phase = time.monotonic(), self.phase
        if self._cancellable and self._held.cancelled:
            return CANCELLED.model_copy(update={"phase": phase})
        if now > self._ends_at:
            return _too_long(phase, "the operation", self._settings.deadline(self._kind))
        if phase is None:
            return None
        limit = self._settings.timeout(phase)
        late = now > self._since + limit + _PHASE_GRACE_SECONDS
        return _too_long(phase, f"the phase {phase}", limit) if late else None


def _join(first: Failure, further: Failure) -> Failure:
    """Join two failures. The first one is the cause; the message of one in the same phase is added if there is room."""
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
