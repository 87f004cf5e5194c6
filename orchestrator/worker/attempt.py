"""One attempt at an operation: what was claimed, the lease under which it is written, and the runs for it."""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import NoReturn, Self, TypeVar

from orchestrator.domain.errors import Code, LostLease
from orchestrator.domain.models import Claim, Cleanup, Failure
from orchestrator.domain.operations import KINDS, OperationKind
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.domain.states import PhaseStatus
from orchestrator.domain.updates import CleanupRecorded, PhaseEntered, PhasesClosed
from orchestrator.drivers.secrets import read_secrets
from orchestrator.play import runner
from orchestrator.play.run_directory import RecordedFile, make_run_directory
from orchestrator.play.variables import Server
from orchestrator.settings import PROJECT_DIR, Settings
from orchestrator.store import leases
from orchestrator.store.connection import Database
from orchestrator.worker.lease import HeldLease
from orchestrator.worker.watch import Watch

T = TypeVar("T")

PLAYBOOKS = PROJECT_DIR / "playbooks"


@dataclass(frozen=True)
class Plan:
    """What one run plays: playbooks by their path below playbooks/, without the ending, and the phases in them."""

    books: tuple[str, ...]
    phases: tuple[Phase, ...]

    @staticmethod
    def of_kind(kind: OperationKind) -> "Plan":
        """The whole of a kind."""
        return Plan((kind.playbook,), kind.played)

    @staticmethod
    def of_phases(phases: Sequence[Phase]) -> "Plan":
        """Single phases, in this order."""
        return Plan(tuple(f"phases/{phase.role}" for phase in phases), tuple(phases))


@dataclass(frozen=True)
class Outcome:
    """What came of a run: why it failed, if it did, and what is known of the instance now."""

    failure: Failure | None = None
    address: str | None = None
    clone_upid: str | None = None
    publications: tuple[Publication, ...] = ()

    def apply_to(self, server: Server) -> Server:
        """The server as it is after the run."""
        return replace(server, publications=self.publications, clone_upid=self.clone_upid or server.clone_upid)


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
        self.claim = claim
        self.operation = claim.operation
        self.kind = KINDS[claim.operation.kind]
        self._held = HeldLease(database, settings, claim.operation, claimed_at)
        self.lease = self._held.lease
        self._handing_over = handing_over
        self._ends_at = claimed_at + claim.left_seconds

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
        """Run a plan in one process.

        While something is undone only the phases have a limit, and a cancel changes nothing any more. Raises LostLease
        when the operation is somebody else's by now, and ConfigurationError for want of the secrets.
        """
        secrets = self.read_secrets()
        try:
            with make_run_directory(self.operation.id, self.operation.fencing_token) as directory:
                watch = self.watch(server, RecordedFile(directory), undoing=undoing, on_phase=on_phase)
                end = runner.play(
                    self._run(plan, server, secrets),
                    directory,
                    on_event=watch.hear,
                    should_stop=watch.should_stop,
                    lease_ends_at=lambda: self._held.ends_at,
                )
        except OSError as error:
            return Outcome(_no_room(plan, error), publications=server.publications)
        return self._conclude(watch, end)

    def watch(
        self,
        server: Server,
        recorded: RecordedFile,
        *,
        undoing: bool = False,
        on_phase: Callable[[Phase], object] | None = None,
    ) -> Watch:
        """Who listens to a run of this attempt, and says when it has to stop."""
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

    def _conclude(self, watch: Watch, end: runner.End) -> Outcome:
        """Write the end of a run's phases, and say what came of it."""
        handed_over = self._is_handed_over(watch, end)
        if not handed_over:
            self._held.put(PhasesClosed(PhaseStatus.OK if end == "successful" else PhaseStatus.FAILED))
        self._held.flush()
        if handed_over:
            self.hand_over()
        unsaid = Failure(code=Code.INTERNAL, message="the playbook ended without saying why: see the worker's log")
        failure = None if end == "successful" else watch.stopped or watch.failure or unsaid
        return Outcome(failure, watch.address, watch.clone_upid, tuple(watch.publications))

    def _is_handed_over(self, watch: Watch, end: runner.End) -> bool:
        """Whether a run ended because its worker leaves; a signal to the whole process group may end it first."""
        if watch.stopped is not None:
            return False
        return end == "stopped" or (end == "failed" and watch.failure is None and self._handing_over.is_set())

    def hand_over(self) -> NoReturn:
        """Put the operation back for another worker. Raises LostLease."""
        self.persist(lambda: leases.hand_over(self.database, self.lease))
        raise LostLease(f"operation {self.operation.id}: handed over, the worker is leaving")

    @property
    def server(self) -> Server | None:
        """The server of the operation as it was claimed, or None when it has no VMID yet."""
        operation = self.operation
        if operation.vmid is None or operation.hostname is None:
            return None
        return Server(operation, operation.vmid, operation.hostname, self.claim.publications, operation.clone_upid)

    def read_secrets(self) -> dict[str, str]:
        """The secrets that a run is given. Raises ConfigurationError."""
        return read_secrets(self.settings.secrets_path)

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants it cancelled."""
        return self._held.cancelled

    def enter(self, phase: Phase) -> None:
        """Begin a phase that is not a play."""
        self._held.put(PhaseEntered(phase, phase.first_line))

    def persist(self, write: Callable[[], T]) -> T:
        """Do one write, again while the database is away and the lease holds. Raises LostLease."""
        return self._held.persist(write)

    def record(self, cleanup: Cleanup) -> None:
        """Write how far a cleanup has come, in its turn."""
        self._held.put(CleanupRecorded(cleanup))


def _no_room(plan: Plan, error: OSError) -> Failure:
    return Failure(
        code=Code.INTERNAL,
        phase=plan.phases[0],
        message=f"the worker cannot keep a run's files ({error.strerror}): see to its disk, then order again",
    )
