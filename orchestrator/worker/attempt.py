"""One attempt at an operation, with the lease under which it is written and the runs that it plays."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import NoReturn, Self, TypeVar

from orchestrator.domain.cleanup import find_published
from orchestrator.domain.errors import WAITING, ConfigurationError, LostLease, WorkerUnfit
from orchestrator.domain.models import Claim, Cleanup, Failure
from orchestrator.domain.operations import KINDS, OperationKind
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.domain.states import OperationStatus, PhaseStatus
from orchestrator.domain.updates import CleanupRecorded, PhaseEntered, PhasesClosed
from orchestrator.drivers.secrets import Secrets
from orchestrator.play import runner
from orchestrator.play.named_secrets import read_named_secrets
from orchestrator.play.run_directory import RecordedFile, describe_no_room, make_run_directory
from orchestrator.play.variables import Server
from orchestrator.settings import PROJECT_DIR, Settings
from orchestrator.store import endings, leases
from orchestrator.store.connection import Database
from orchestrator.worker.lease import HeldLease
from orchestrator.worker.watch import Watch

T = TypeVar("T")

PLAYBOOKS = PROJECT_DIR / "playbooks"


@dataclass(frozen=True)
class Plan:
    """What one run plays: its playbooks, named by their path below playbooks/ without `.yml`, and their phases."""

    books: tuple[str, ...]
    phases: tuple[Phase, ...]

    @staticmethod
    def of_kind(kind: OperationKind) -> "Plan":
        """Plan all played phases of a kind."""
        return Plan((kind.playbook,), kind.played)

    @staticmethod
    def of_phases(phases: Sequence[Phase]) -> "Plan":
        """Plan single phases, in this order."""
        return Plan(tuple(f"phases/{phase.role}" for phase in phases), tuple(phases))


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: why it failed, if it did, and what is known of the instance afterwards."""

    failure: Failure | None = None
    address: str | None = None
    clone_upid: str | None = None
    publications: tuple[Publication, ...] = ()

    def apply_to(self, server: Server) -> Server:
        """Return the server as it is after the run."""
        return replace(server, publications=self.publications, clone_upid=self.clone_upid or server.clone_upid)


class Attempt:
    """A worker's attempt at a claimed operation. It is a context manager, which holds the lease."""

    def __init__(
        self, database: Database, settings: Settings, claim: Claim, claimed_at: float, handing_over: threading.Event
    ) -> None:
        """Prepare the attempt.

        `claimed_at` is time.monotonic() from before the claim, because the lease cannot have begun earlier.
        `handing_over` is set when a leaving worker no longer waits for its operations.
        """
        self.database = database
        self.settings = settings
        self.claim = claim
        self.operation = claim.operation
        """The operation as this attempt has left it, but for its phases. The claim holds it as it was."""
        self.kind = KINDS[claim.operation.kind]
        self._held = HeldLease(database, settings, claim.operation, claimed_at)
        self.lease = self._held.lease
        self._handing_over = handing_over
        self._ends_at = claimed_at + claim.left_seconds
        self._asked_at = claimed_at - claim.age_seconds

    def __enter__(self) -> Self:
        self._held.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.stop()

    def play(
        self,
        plan: Plan,
        server: Server,
        *,
        undoing: bool = False,
        on_phase: Callable[[Phase], object] | None = None,
    ) -> Outcome:
        """Play a plan in one process.

        With `undoing` only the phases have a time limit, and a cancel has no effect. Raises LostLease when another
        worker holds the operation by now, and WorkerUnfit when this worker is at fault for how the run ended.
        """
        run = self._run(plan, server, self._read_secrets())
        try:
            with make_run_directory(self.operation.id, self.operation.fencing_token) as directory:
                watch = self.watch(server, RecordedFile(directory), undoing=undoing, on_phase=on_phase)
                end = runner.play(
                    run,
                    directory,
                    on_event=watch.hear,
                    should_stop=watch.should_stop,
                    lease_ends_at=lambda: self._held.ends_at,
                )
        except OSError as error:
            raise self._unfit(describe_no_room(error)) from error
        return self._conclude(watch, plan, end)

    def watch(
        self,
        server: Server,
        recorded: RecordedFile,
        *,
        undoing: bool = False,
        on_phase: Callable[[Phase], object] | None = None,
    ) -> Watch:
        """Return the watch of a run, which takes its events and says when it must stop."""
        return Watch(
            self._held,
            self.settings,
            self._handing_over,
            recorded,
            server.publications,
            kind=self.kind,
            ends_at=math.inf if undoing else self._ends_at,
            cancellable=not undoing,
            on_phase=on_phase,
        )

    def _run(self, plan: Plan, server: Server, secrets: dict[str, str]) -> runner.Run:
        return runner.Run(
            operation_id=self.operation.id,
            fencing_token=self.operation.fencing_token,
            playbooks=[PLAYBOOKS / f"{book}.yml" for book in plan.books],
            inventory=self.settings.inventory,
            variables=server.variables(self.settings),
            secrets=secrets,
            state_dir=self.settings.state_dir,
        )

    def _conclude(self, watch: Watch, plan: Plan, end: runner.End) -> Outcome:
        """Write how the phases of a run have ended, and return its outcome. Raises WorkerUnfit."""
        handed_over = self._is_handed_over(watch, end)
        if not handed_over and (end == "successful" or watch.stopped is None):
            fault = watch.find_fault(plan.phases, successful=end == "successful")
            if fault is not None:
                self._held.flush()  # another worker that holds the operation has ended this run: that is no fault
                raise self._unfit(fault)
        pause = None if handed_over or end == "successful" else self._find_pause(watch)
        if not handed_over and pause is None:
            self._held.put(PhasesClosed(PhaseStatus.OK if end == "successful" else PhaseStatus.FAILED))
        self._held.flush()
        if handed_over:
            self.hand_over("its worker is leaving")
        if pause is not None:
            self.put_off(*pause)
        failure = None if end == "successful" else watch.stopped or watch.failure
        return _sum_up(watch, failure)

    def _find_pause(self, watch: Watch) -> tuple[float, str] | None:
        """Return for how long a publish is put off, and why, or None when it is not.

        Its machine is installed, so to undo it would cost its customer minutes for nothing.
        """
        failure = watch.failure
        if watch.stopped is not None or failure is None or failure.pause is None or self.cancelled:
            return None
        within = self.settings.publish_within_seconds
        if failure.phase is not Phase.PUBLISH_EDGE or self.age_seconds + failure.pause > within:
            return None
        return failure.pause, f"{WAITING}{failure.message}"

    def _is_handed_over(self, watch: Watch, end: runner.End) -> bool:
        """Return whether a run ended because its worker leaves.

        The run may also have ended before its worker stopped it, by a signal to the whole process group.
        """
        if watch.stopped is not None or watch.fault is not None:
            return False
        return end == "stopped" or (end == "failed" and watch.failure is None and self._handing_over.is_set())

    def hand_over(self, reason: str) -> NoReturn:
        """Put the operation back for another worker. `reason` is a clause. Always raises LostLease."""
        self.persist(lambda: leases.hand_over(self.database, self.lease, reason))
        raise LostLease(f"operation {self.operation.id}: handed over, {reason}")

    def put_off(self, seconds: float, reason: str) -> NoReturn:
        """Put the operation back for so many seconds. `reason` is a line for its log. Always raises LostLease."""
        self.persist(lambda: leases.put_off(self.database, self.lease, seconds, reason))
        raise LostLease(f"operation {self.operation.id}: put off for {seconds:.0f} s")

    @property
    def age_seconds(self) -> float:
        """The seconds since somebody asked for the operation."""
        return time.monotonic() - self._asked_at

    @property
    def is_overdue(self) -> bool:
        """Whether the time of the operation is over."""
        return time.monotonic() > self._ends_at

    @property
    def leaves_untouched(self) -> bool:
        """Whether there is nothing to undo, because the server was ready before the operation and still is.

        Otherwise the failed start of a running server would stop it.
        """
        return self.claim.was_ready and not self.kind.disturbs

    @property
    def server(self) -> Server | None:
        """The server of the operation, as it was when it was claimed. It is None when the server has no VMID yet."""
        operation = self.operation
        if operation.vmid is None or operation.hostname is None:
            return None
        return Server(
            operation,
            operation.vmid,
            operation.hostname,
            self.claim.publications,
            self.claim.publications_known,
            operation.clone_upid,
        )

    @property
    def published(self) -> Failure | None:
        """Why the instance cannot be forgotten yet, as it was claimed. None when nothing of it is published."""
        claim = self.claim
        return find_published(claim.operation.hostname, claim.publications, whole=claim.publications_known)

    def _read_secrets(self) -> dict[str, str]:
        """Read the secrets for a run. Raises WorkerUnfit."""
        try:
            return read_named_secrets(self.settings)
        except ConfigurationError as error:
            raise self._unfit(str(error)) from error

    def _unfit(self, fault: str) -> WorkerUnfit:
        """Return the error. Ansible's words may quote any variable."""
        return WorkerUnfit(self._scrub(fault))

    def _scrub(self, words: str) -> str:
        return Secrets(self.settings.secrets_path).scrub(words)

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to cancel the operation."""
        return self._held.cancelled

    def enter(self, phase: Phase) -> None:
        """Begin a phase that has no role."""
        self._held.put(PhaseEntered(phase, phase.first_line))

    def begin_cleaning(self, failure: Failure) -> None:
        """Keep why the operation failed, and undo it under the same lease. Does nothing when that has begun already."""
        if self.operation.status is OperationStatus.CLEANING:
            return
        self.persist(lambda: endings.begin_cleaning(self.database, self.lease, failure))
        self.operation = self.operation.model_copy(update={"status": OperationStatus.CLEANING, "error": failure})

    def persist(self, write: Callable[[], T]) -> T:
        """Do one write, and repeat it while the database is away and the lease holds. Raises LostLease."""
        return self._held.persist(write)

    def record(self, cleanup: Cleanup) -> None:
        """Have the progress of a cleanup written after everything that was put before."""
        self._held.put(CleanupRecorded(cleanup))


def _sum_up(watch: Watch, failure: Failure | None) -> Outcome:
    return Outcome(failure, watch.address, watch.clone_upid, tuple(watch.publications))
