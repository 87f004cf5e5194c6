"""Carries out a claimed operation, from the first look at it to its end.

It has three parts: `_go_on` plays the operation, `_succeed` writes its success, and `_fail` writes its failure and
undoes what can be undone.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.errors import CancelRequested, Code, LostLease, WorkerUnfit
from orchestrator.domain.models import CANCELLED, Failure
from orchestrator.domain.operations import Ending
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import OperationStatus
from orchestrator.play.variables import Server
from orchestrator.store import endings, leases
from orchestrator.store.callbacks import create_callback
from orchestrator.worker.attempt import Attempt, Outcome, Plan
from orchestrator.worker.undo import close, undo

log = logging.getLogger(__name__)

Undoing = Callable[[Attempt, Server | None, Failure], object]

_TRIES = 10
"""After this many attempts an operation that meets a defect or only unfit workers ends. It names what is left."""
_VMID_TRIES = 10
"""How many VMIDs an operation tries when they turn out to be somebody else's."""
_UNKNOWN = Failure(code=Code.INTERNAL, message="why it failed is not recorded")
_DEFECT = Failure(code=Code.INTERNAL, message="something went wrong on our side: the worker's log says what")
_UNFIT_WORKER = "its worker cannot work, as that worker's log and `hostwright doctor` say"
_UNFIT = Failure(code=Code.INTERNAL, message=f"no worker could carry it out: {_UNFIT_WORKER}")
_NO_CONTAINER = Failure(code=Code.INTERNAL, message="the server has no container: delete it and order again")


def carry_out(attempt: Attempt, catalogue: Catalogue) -> None:
    """Take an operation to its end.

    A defect of Hostwright fails the operation, and another attempt undoes it. Raises LostLease when another worker
    holds the operation by now, and WorkerUnfit when this worker cannot carry it out and must put it back.
    """
    operation = attempt.operation
    failure: Failure | None
    try:
        if operation.status is OperationStatus.CLEANING:
            server, failure = attempt.server, operation.error or _UNKNOWN
        elif attempt.cancelled:
            server, failure = attempt.server, CANCELLED.model_copy(update={"phase": operation.phase})
        elif not attempt.claim.publications_known and attempt.kind.disturbs:
            server, failure = attempt.server, attempt.published
        else:
            server, outcome = _go_on(attempt, catalogue)
            failure = outcome.failure or _succeed(attempt, server, outcome)
        if failure is not None:
            _fail(attempt, server, failure, undo)
    except (LostLease, WorkerUnfit):
        raise
    except Exception:
        log.exception("operation %s", operation.id)
        _fail(attempt, attempt.server, _DEFECT, _leave_to_another)


def _go_on(attempt: Attempt, catalogue: Catalogue) -> tuple[Server | None, Outcome]:
    """Play the operation. A resumed or retried one keeps the VMID that it has.

    When a VMID turns out to be somebody else's, it is left alone and the next one is taken.
    """
    kind, server, outcome = attempt.kind, attempt.server, Outcome()
    for _ in range(_VMID_TRIES):
        if server is None and kind.makes_machine:
            server = _allocate(attempt, catalogue)
            if server is None:
                return None, Outcome(_no_vmid(attempt))
        if server is None:
            # The order failed before it had a VMID, so there is nothing to stop or to remove.
            return None, Outcome(_NO_CONTAINER if kind.ending is Ending.READY else attempt.published)
        server = _with_callback(attempt, server)
        outcome = attempt.play(Plan.of_kind(kind), server)
        server = outcome.apply_to(server)
        if not _is_foreign(attempt, server, outcome.failure):
            return server, _judge(attempt, server, outcome)
        taken, server = server.vmid, None
        attempt.persist(lambda vmid=taken: leases.give_up_vmid(attempt.database, attempt.lease, vmid))  # type: ignore[misc]
    return None, outcome


def _allocate(attempt: Attempt, catalogue: Catalogue) -> Server | None:
    """Give the operation a VMID and a host name. Returns None when every VMID of the range is in use."""
    operation = attempt.operation

    def name(vmid: int) -> str:
        game, variant = operation.spec.get("game"), operation.spec.get("variant")
        return catalogue.hostname(operation.ctype, vmid, game=game, variant=variant)

    attempt.enter(Phase.ALLOCATE_VMID)
    bounds = catalogue.vmid_bounds(operation.ctype)
    allocated = attempt.persist(
        lambda: leases.allocate_vmid(attempt.database, attempt.lease, ctype=operation.ctype, bounds=bounds, name=name)
    )
    return None if allocated is None else Server(operation, *allocated)


def _no_vmid(attempt: Attempt) -> Failure:
    return Failure(
        code=Code.VMID_TAKEN,
        phase=Phase.ALLOCATE_VMID,
        message=f"every VMID of the {attempt.operation.ctype} range is in use: widen it in the catalogue",
    )


def _with_callback(attempt: Attempt, server: Server) -> Server:
    """Return the server with the URL at which its agent may report, if the API has a public URL."""
    base = attempt.settings.public_url
    if base is None or not attempt.kind.configures_agent:
        return server
    token = attempt.persist(lambda: create_callback(attempt.database, attempt.lease))
    return replace(server, callback_url=f"{base}/api/callbacks/{token}")


def _is_foreign(attempt: Attempt, server: Server, failure: Failure | None) -> bool:
    """Return whether the VMID is somebody else's, and nothing of ours needs it.

    When an earlier attempt made a machine and the one there is no container of this node, it may still be our own. What
    is published under the VMID is taken back first, so the operation fails and is undone.
    """
    if failure is None or failure.code is not Code.VMID_TAKEN or not attempt.kind.makes_machine:
        return False
    if server.published is not None:
        return False
    made_before = attempt.operation.retry_of is not None or server.clone_upid is not None
    return not (made_before and bool((failure.detail or {}).get("elsewhere")))


def _judge(attempt: Attempt, server: Server, outcome: Outcome) -> Outcome:
    """Return what the outcome of a play means for the operation."""
    # When somebody else's machine has our VMID, ours is gone and nothing is left to remove.
    gone = attempt.kind.removes_machine and outcome.failure is not None and outcome.failure.code is Code.NOT_OURS
    if not attempt.kind.disturbs or (outcome.failure is not None and not gone):
        return outcome
    return replace(outcome, failure=server.published)


def _succeed(attempt: Attempt, server: Server | None, outcome: Outcome) -> Failure | None:
    """Write the success. Returns a failure when somebody asked to cancel the operation before that."""
    instance_id, hostname = attempt.operation.instance_id, server.hostname if server else None
    try:
        attempt.persist(
            lambda: endings.complete(
                attempt.database, attempt.kind, instance_id, attempt.lease, address=outcome.address, hostname=hostname
            )
        )
    except CancelRequested:
        return CANCELLED
    return None


def _fail(attempt: Attempt, server: Server | None, failure: Failure, undoing: Undoing) -> None:
    """Record why the operation failed, and undo what can be undone."""
    instance_id, seconds = attempt.operation.instance_id, attempt.settings.cleanup_retry_seconds
    if not attempt.kind.undo:
        attempt.persist(
            lambda: endings.fail(attempt.database, instance_id, attempt.lease, failure, attend_seconds=seconds)
        )
        return
    attempt.begin_cleaning(failure)
    undoing(attempt, server, failure)


def _leave_to_another(attempt: Attempt, server: Server | None, failure: Failure) -> None:
    """Leave the undoing to another attempt, after a defect. A cleanup with too many attempts ends unfinished.

    The first one follows at once. The others follow when the lease has ended, so that a defect is not met in a loop.
    """
    if attempt.claim.operation.status is not OperationStatus.CLEANING:
        attempt.hand_over("what failed is undone by another attempt")
    elif attempt.operation.attempt >= _TRIES:
        close(attempt, server, attempt.operation.error or failure)


def put_back(attempt: Attempt, fault: WorkerUnfit) -> None:
    """Give the operation to another worker, because this one cannot work. Neither a loss nor a failure is counted.

    So that it does not go round for ever, it fails when its time is over or after too many attempts, and its undoing
    ends unfinished after too many. What makes workers unfit that pass their self-test again is of the operation: it
    must not keep them from all others. Raises LostLease when another worker is to go on.
    """
    cleaning, tried = attempt.operation.status is OperationStatus.CLEANING, attempt.operation.attempt >= _TRIES
    if cleaning and tried:
        close(attempt, attempt.server, attempt.operation.error or _UNKNOWN)
    elif not cleaning and (tried or attempt.is_overdue):
        told = {"phase": attempt.operation.phase, "detail": {"worker": str(fault)}}
        _fail(attempt, attempt.server, _UNFIT.model_copy(update=told), _leave_to_another)
    else:
        attempt.hand_over(_UNFIT_WORKER)
