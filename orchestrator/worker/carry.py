"""What a worker does with a claimed operation: go on with its kind, and end it as what came of that."""

import logging
from dataclasses import replace

from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.errors import CancelRequested, Code, ConfigurationError, LostLease
from orchestrator.domain.models import CANCELLED, Failure
from orchestrator.domain.operations import Ending
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import OperationStatus
from orchestrator.drivers.secrets import read_secrets
from orchestrator.play.variables import Server
from orchestrator.store import endings, leases
from orchestrator.store.callbacks import create_callback
from orchestrator.worker import undo
from orchestrator.worker.attempt import Attempt, Outcome, Plan

log = logging.getLogger(__name__)

_CLEANUP_TRIES = 10
"""After so many attempts that met a defect, a cleanup ends with everything named as left behind."""
_VMID_TRIES = 10
"""How many VMIDs that turn out to be somebody else's are passed over in one operation."""
_UNKNOWN = Failure(code=Code.INTERNAL, message="why it failed is not recorded")


def carry_out(attempt: Attempt, catalogue: Catalogue) -> None:
    """Take an operation to its end; a defect of ours fails it, and its undoing is left to another attempt.

    Raises LostLease when it is somebody else's by now.
    """
    try:
        _go_on(attempt, catalogue)
    except LostLease:
        raise
    except Exception:
        log.exception("operation %s", attempt.operation.id)
        _give_up(attempt)


def _go_on(attempt: Attempt, catalogue: Catalogue) -> None:
    """Begin an operation, or go on where an earlier attempt stopped."""
    operation, server = attempt.operation, claimed_server(attempt)
    if operation.status is OperationStatus.CLEANING:
        undo.undo(attempt, server, operation.error or _UNKNOWN)
    elif (unfit := _find_unfitness(attempt)) is not None:
        _refuse(attempt, server, unfit)
    elif attempt.cancelled:
        _fail(attempt, server, CANCELLED.model_copy(update={"phase": operation.phase}))
    elif attempt.kind.makes_machine:
        _end(attempt, *_play_on_free_vmid(attempt, catalogue, server))
    elif server is not None:
        outcome = _play(attempt, server)
        _end(attempt, outcome.apply_to(server), outcome)
    elif attempt.kind.ending is Ending.READY:
        message = "the server has no container: delete it and order again"
        _fail(attempt, None, Failure(code=Code.INTERNAL, message=message))
    else:
        # An order that failed before it had a VMID: there is nothing to stop or to remove.
        _succeed(attempt, None, None)


def _give_up(attempt: Attempt) -> None:
    operation = attempt.operation
    failure = Failure(code=Code.INTERNAL, message="something went wrong on our side: the worker's log says what")
    if not attempt.kind.undo:
        _fail(attempt, None, failure)
    elif operation.status is not OperationStatus.CLEANING:
        attempt.persist(lambda: endings.begin_cleaning(attempt.database, attempt.lease, failure))
        attempt.hand_over()
    elif operation.attempt >= _CLEANUP_TRIES:
        undo.close(attempt, claimed_server(attempt), operation.error or failure)


def claimed_server(attempt: Attempt) -> Server | None:
    """The server of the operation as it was claimed, or None when it has no VMID yet."""
    operation = attempt.operation
    if operation.vmid is None or operation.hostname is None:
        return None
    return Server(operation, operation.vmid, operation.hostname, attempt.claim.publications, operation.clone_upid)


def _find_unfitness(attempt: Attempt) -> Failure | None:
    """Why this worker cannot run a playbook at all, if it cannot."""
    try:
        read_secrets(attempt.settings.secrets_path)
    except ConfigurationError as error:
        log.error("operation %s: %s", attempt.operation.id, error)  # noqa: TRY400  # a sentence, not a trace
        return Failure(code=Code.INTERNAL, message="the worker is not set up: its log says what is missing")
    return None


def _refuse(attempt: Attempt, server: Server | None, failure: Failure) -> None:
    """Fail an operation that cannot be played here; what an earlier attempt made of it is named as left behind."""
    if not attempt.kind.undo:
        _fail(attempt, server, failure)
        return
    attempt.persist(lambda: endings.begin_cleaning(attempt.database, attempt.lease, failure))
    undo.close(attempt, server, failure)


def _end(attempt: Attempt, server: Server | None, outcome: Outcome) -> None:
    """End an operation as what came of its play."""
    failure = outcome.failure
    if failure is not None and attempt.kind.removes_machine and failure.code is Code.NOT_OURS:
        # Somebody else's machine on our VMID means that ours is gone: there is nothing left to remove.
        failure = None
    if failure is None and attempt.kind.removes_machine and outcome.publications:
        failure = _still_published(outcome)
    if failure is None:
        _succeed(attempt, server, outcome.address)
    else:
        _fail(attempt, server, failure)


def _succeed(attempt: Attempt, server: Server | None, address: str | None) -> None:
    try:
        attempt.persist(
            lambda: endings.complete(
                attempt.database,
                attempt.kind,
                attempt.operation.instance_id,
                attempt.lease,
                address=address,
                hostname=server.hostname if server else None,
            )
        )
    except CancelRequested:
        _fail(attempt, server, CANCELLED)


def _fail(attempt: Attempt, server: Server | None, failure: Failure) -> None:
    """Record why it failed, and undo what can be undone."""
    if attempt.kind.undo:
        attempt.persist(lambda: endings.begin_cleaning(attempt.database, attempt.lease, failure))
        undo.undo(attempt, server, failure)
        return
    instance_id, seconds = attempt.operation.instance_id, attempt.settings.cleanup_retry_seconds
    attempt.persist(lambda: endings.fail(attempt.database, instance_id, attempt.lease, failure, attend_seconds=seconds))


def _still_published(outcome: Outcome) -> Failure:
    named = ", ".join(f"{each.type} {each.name} at {each.place}" for each in outcome.publications)
    return Failure(
        code=Code.INTERNAL,
        phase=Phase.UNPUBLISH_EDGE,
        message=f"the playbook ended well, but did not say that these were taken back: {named}",
    )


def _play_on_free_vmid(attempt: Attempt, catalogue: Catalogue, server: Server | None) -> tuple[Server | None, Outcome]:
    """Play on a VMID of ours; one that proves to be somebody else's is left alone and another taken.

    A resumed or retried operation goes on with the VMID that it has.
    """
    outcome = Outcome(None, None, None, ())
    for _ in range(_VMID_TRIES):
        server = server or _allocate(attempt, catalogue)
        if server is None:
            return None, replace(outcome, failure=_no_vmid(attempt))
        outcome = _play(attempt, server)
        server = outcome.apply_to(server)
        if not _is_foreign(attempt, server, outcome.failure):
            return server, outcome
        taken, server = server.vmid, None
        attempt.persist(lambda vmid=taken: leases.give_up_vmid(attempt.database, attempt.lease, vmid))  # type: ignore[misc]
    return None, outcome


def _play(attempt: Attempt, server: Server) -> Outcome:
    base = attempt.settings.public_url
    if base is not None and attempt.kind.configures_agent:
        token = attempt.persist(lambda: create_callback(attempt.database, attempt.lease))
        server = replace(server, callback_url=f"{base}/api/callbacks/{token}")
    return attempt.play(Plan.of_kind(attempt.kind), server)


def _is_foreign(attempt: Attempt, server: Server, failure: Failure | None) -> bool:
    """Whether a VMID is somebody else's. What we made there before and is elsewhere now may be our own."""
    if failure is None or failure.code is not Code.VMID_TAKEN:
        return False
    made_before = attempt.operation.retry_of is not None or server.clone_upid is not None
    return not (made_before and bool((failure.detail or {}).get("elsewhere")))


def _allocate(attempt: Attempt, catalogue: Catalogue) -> Server | None:
    operation = attempt.operation
    attempt.enter(Phase.ALLOCATE_VMID)
    bounds = catalogue.vmid_bounds(operation.ctype)
    vmid = attempt.persist(
        lambda: leases.allocate_vmid(attempt.database, attempt.lease, ctype=operation.ctype, bounds=bounds)
    )
    if vmid is None:
        return None
    hostname = catalogue.hostname(
        operation.ctype, vmid, game=operation.spec.get("game"), variant=operation.spec.get("variant")
    )
    attempt.persist(lambda: leases.set_hostname(attempt.database, attempt.lease, hostname))
    return Server(operation, vmid, hostname)


def _no_vmid(attempt: Attempt) -> Failure:
    return Failure(
        code=Code.VMID_TAKEN,
        phase=Phase.ALLOCATE_VMID,
        message=f"every VMID of the {attempt.operation.ctype} range is in use: widen it in the catalogue",
    )
