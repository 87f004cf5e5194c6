"""What a worker does with a claimed operation: provision, teardown, and the cleanup of a failed provision."""

import logging
from dataclasses import dataclass, replace
from typing import Any

from orchestrator import runner
from orchestrator.attempt import Attempt
from orchestrator.catalogue import Catalogue
from orchestrator.errors import Code, ConfigurationError
from orchestrator.models import Cleanup, CleanupStep, Failure, OperationRow
from orchestrator.phases import CLEANUP, Kind, Phase, played
from orchestrator.secrets import read_secrets
from orchestrator.settings import Settings
from orchestrator.states import OperationStatus, PhaseStatus
from orchestrator.store import leases

log = logging.getLogger(__name__)

_CLEANUP_TRIES = 10
"""After so many attempts that met a defect, a cleanup ends with everything named as left behind."""
_VMID_TRIES = 10
"""How many VMIDs that turn out to be somebody else's are passed over in one operation."""


@dataclass(frozen=True)
class Server:
    """What the roles are told of an instance: its identity and what was ordered."""

    operation: OperationRow
    vmid: int
    hostname: str
    published: bool = False
    """Whether its names at the edge are known to be its own: else the container has to prove it (unpublish-edge)."""

    def variables(self, settings: Settings) -> dict[str, Any]:
        """The extra variables of a run; what a customer wrote is marked unsafe, so that it is never a template."""
        timeouts = {f"{phase.role}_timeout": settings.timeout(phase) for kind in Kind for phase in played(kind)}
        ordered: dict[str, Any] = runner.unsafe(self.operation.spec)
        return (
            timeouts
            | ordered
            | {
                "vmid": self.vmid,
                "hostname": self.hostname,
                "server_id": str(self.operation.instance_id),
                "operation_id": str(self.operation.id),
                "published": self.published,
            }
        )


def carry_out(attempt: Attempt, catalogue: Catalogue) -> None:
    """Take an operation to its end.

    Raises LostLease when it is somebody else's by now, and ConfigurationError when a cleanup cannot be done for want of
    the secrets: it is tried again when the lease has run out.
    """
    operation = attempt.operation
    unfit = _unfitness(attempt)
    if unfit is not None and operation.status is not OperationStatus.CLEANING:
        _refuse(attempt, unfit)
    elif operation.status is OperationStatus.CLEANING:
        _clean_up(attempt, _server(operation), operation.error)
    elif operation.kind is Kind.PROVISION:
        _provision(attempt, catalogue)
    else:
        _tear_down(attempt)


def _unfitness(attempt: Attempt) -> Failure | None:
    """Why this worker cannot run a playbook at all, if it cannot."""
    try:
        _secrets(attempt)
    except ConfigurationError as error:
        log.error("operation %s: %s", attempt.operation.id, error)  # noqa: TRY400  # a sentence, not a trace
        return Failure(code=Code.INTERNAL, message="the worker is not set up: its log says what is missing")
    return None


def give_up(attempt: Attempt) -> None:
    """After a defect of ours: fail what can be failed, and leave the cleanup to another attempt. Raises LostLease."""
    operation, database, lease = attempt.operation, attempt.database, attempt.lease
    failure = Failure(code=Code.INTERNAL, message="something went wrong on our side: the worker's log says what")
    if operation.kind is Kind.TEARDOWN:
        attempt.persist(lambda: leases.fail_teardown(database, lease, failure))
    elif operation.status is not OperationStatus.CLEANING:
        attempt.persist(lambda: leases.begin_cleaning(database, lease, failure))
        attempt.persist(lambda: leases.release(database, lease))
    elif operation.attempt >= _CLEANUP_TRIES:
        leaked = (f"edge:{operation.hostname}", f"container:{operation.vmid}")
        cleanup = Cleanup(status=PhaseStatus.FAILED, leaked=leaked)
        attempt.persist(lambda: leases.finish_cleaned(database, operation.instance_id, lease, cleanup))


def _refuse(attempt: Attempt, failure: Failure) -> None:
    """Fail an operation before anything was done for it."""
    database, lease, instance_id = attempt.database, attempt.lease, attempt.operation.instance_id
    if attempt.operation.kind is Kind.TEARDOWN:
        attempt.persist(lambda: leases.fail_teardown(database, lease, failure))
        return
    attempt.persist(lambda: leases.begin_cleaning(database, lease, failure))
    cleanup = Cleanup(status=PhaseStatus.OK)
    attempt.persist(lambda: leases.finish_cleaned(database, instance_id, lease, cleanup))


def _provision(attempt: Attempt, catalogue: Catalogue) -> None:
    server, failure = _try_vmids(attempt, catalogue)
    if failure is None and server is not None:
        attempt.persist(
            lambda: leases.complete_provision(
                attempt.database,
                attempt.operation.instance_id,
                attempt.lease,
                hostname=server.hostname,
                address=attempt.address,
            )
        )
    elif failure is not None:
        attempt.persist(lambda: leases.begin_cleaning(attempt.database, attempt.lease, failure))
        _clean_up(attempt, server, failure)


def _try_vmids(attempt: Attempt, catalogue: Catalogue) -> tuple[Server | None, Failure | None]:
    """Play the provision on a VMID of ours; one that proves to be somebody else's is left alone and another taken."""
    failure: Failure | None = None
    for _ in range(_VMID_TRIES):
        server = _allocate(attempt, catalogue)
        if server is None:
            return None, Failure(
                code=Code.VMID_TAKEN,
                phase=Phase.ALLOCATE_VMID,
                message=f"every VMID of the {attempt.operation.ctype} range is in use: widen it in the catalogue",
            )
        failure = attempt.play(played(Kind.PROVISION), server.variables(attempt.settings), _secrets(attempt))
        if failure is None or failure.code is not Code.VMID_TAKEN:
            return server, failure
        taken = server.vmid
        attempt.persist(lambda vmid=taken: leases.give_up_vmid(attempt.database, attempt.lease, vmid))  # type: ignore[misc]
    return None, failure


def _allocate(attempt: Attempt, catalogue: Catalogue) -> Server | None:
    operation = attempt.operation
    attempt.enter(Phase.ALLOCATE_VMID, "choosing a VMID")
    vmid = attempt.persist(
        lambda: leases.allocate_vmid(
            attempt.database, attempt.lease, ctype=operation.ctype, bounds=catalogue.vmids[operation.ctype]
        )
    )
    if vmid is None:
        return None
    hostname = catalogue.hostname(
        operation.ctype, vmid, game=operation.spec.get("game"), variant=operation.spec.get("variant")
    )
    attempt.persist(lambda: leases.set_hostname(attempt.database, attempt.lease, hostname))
    return Server(operation, vmid, hostname)


def _tear_down(attempt: Attempt) -> None:
    server = _server(attempt.operation, published=True)
    if server is not None:
        failure = attempt.play(played(Kind.TEARDOWN), server.variables(attempt.settings), _secrets(attempt))
        # Somebody else's machine on our VMID means that ours is gone: there is nothing left to delete.
        if failure is not None and failure.code is not Code.NOT_OURS:
            attempt.persist(lambda: leases.fail_teardown(attempt.database, attempt.lease, failure))
            return
    attempt.persist(lambda: leases.complete_teardown(attempt.database, attempt.operation.instance_id, attempt.lease))


def _clean_up(attempt: Attempt, server: Server | None, failure: Failure | None) -> None:
    """Undo a failed provision phase by phase; one that fails does not keep the next from being tried.

    A machine that its customer wants to look at is only taken off the edge.
    """
    attempt.lift_deadline()
    if server is not None and failure is not None and failure.phase == Phase.PUBLISH_EDGE:
        server = replace(server, published=True)
    kept = _is_kept(attempt.operation, failure)
    steps: list[CleanupStep] = []
    remaining = () if server is None else (Phase.UNPUBLISH_EDGE,) if kept else CLEANUP
    while remaining and server is not None:
        problem = attempt.play(remaining, server.variables(attempt.settings), _secrets(attempt))
        failed = _failed_at(problem, remaining)
        done = len(remaining) if failed is None else remaining.index(failed)
        steps += [CleanupStep(name=phase, status=PhaseStatus.OK) for phase in remaining[:done]]
        if failed is not None and problem is not None:
            steps.append(_failed_step(failed, problem))
        remaining = remaining[done + 1 :]
    failed_steps = [step.name for step in steps if step.status is PhaseStatus.FAILED]
    leaked = tuple(_what_leaked(name, server) for name in failed_steps) if server else ()
    status = PhaseStatus.FAILED if leaked else PhaseStatus.OK
    cleanup = Cleanup(status=status, steps=tuple(steps), leaked=leaked)
    instance_id = attempt.operation.instance_id
    attempt.persist(lambda: leases.finish_cleaned(attempt.database, instance_id, attempt.lease, cleanup, kept=kept))


def _is_kept(operation: OperationRow, failure: Failure | None) -> bool:
    """Whether there is a machine to keep, and its customer wants it kept."""
    made_nothing = failure is None or failure.phase in (None, Phase.ALLOCATE_VMID, Phase.CLONE_CONTAINER)
    return operation.spec.get("on_failure") == "keep" and not made_nothing


def _failed_at(failure: Failure | None, phases: tuple[Phase, ...]) -> Phase | None:
    if failure is None:
        return None
    return next((phase for phase in phases if phase == failure.phase), phases[0])


def _failed_step(phase: Phase, failure: Failure) -> CleanupStep:
    # A container that is not ours means that ours is not there: nothing of us is left, and theirs is untouched.
    gone = failure.code is Code.NOT_OURS
    return CleanupStep(name=phase, status=PhaseStatus.OK if gone else PhaseStatus.FAILED, message=failure.message)


def _what_leaked(phase: Phase, server: Server) -> str:
    return f"edge:{server.hostname}" if phase is Phase.UNPUBLISH_EDGE else f"container:{server.vmid}"


def _server(operation: OperationRow, *, published: bool = False) -> Server | None:
    if operation.vmid is None or operation.hostname is None:
        return None
    return Server(operation, operation.vmid, operation.hostname, published)


def _secrets(attempt: Attempt) -> dict[str, Any]:
    return read_secrets(attempt.settings.secrets_path)
