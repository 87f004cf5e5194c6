"""What a worker does with a claimed operation, by its kind."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orchestrator.domain.catalogue import Catalogue
from orchestrator.domain.errors import CancelRequested, Code, ConfigurationError
from orchestrator.domain.models import CANCELLED, Failure
from orchestrator.domain.phases import UNDO, Kind, Phase, played
from orchestrator.domain.states import OperationStatus
from orchestrator.drivers.secrets import read_secrets
from orchestrator.play.variables import Server, server_of
from orchestrator.store import endings, leases
from orchestrator.store.callbacks import create_callback
from orchestrator.worker import undo
from orchestrator.worker.attempt import Attempt

log = logging.getLogger(__name__)

_CLEANUP_TRIES = 10
"""After so many attempts that met a defect, a cleanup ends with everything named as left behind."""
_VMID_TRIES = 10
"""How many VMIDs that turn out to be somebody else's are passed over in one operation."""
_UNKNOWN = Failure(code=Code.INTERNAL, message="why it failed is not recorded")


def carry_out(attempt: Attempt, catalogue: Catalogue) -> None:
    """Take an operation to its end.

    Raises LostLease when it is somebody else's by now, and ConfigurationError when a cleanup cannot be done for want of
    the secrets: it is tried again when the lease has run out.
    """
    operation = attempt.operation
    if operation.status is OperationStatus.CLEANING:
        _undo(attempt, operation.error or _UNKNOWN, recorded=True)
    elif (unfit := _unfitness(attempt)) is not None:
        _refuse(attempt, unfit)
    elif attempt.cancelled:
        _undo(attempt, CANCELLED.model_copy(update={"phase": operation.phase}))
    elif operation.kind is Kind.PROVISION:
        _provision(attempt, catalogue)
    elif operation.kind is Kind.START:
        _start(attempt)
    else:
        _remove(attempt)


def give_up(attempt: Attempt) -> None:
    """After a defect of ours: fail what can be failed, and leave the undoing to another attempt. Raises LostLease."""
    operation, database, lease = attempt.operation, attempt.database, attempt.lease
    failure = Failure(code=Code.INTERNAL, message="something went wrong on our side: the worker's log says what")
    if operation.kind not in UNDO:
        _fail(attempt, failure)
    elif operation.status is not OperationStatus.CLEANING:
        attempt.persist(lambda: endings.begin_cleaning(database, lease, failure))
        attempt.hand_over()
    elif operation.attempt >= _CLEANUP_TRIES:
        _close(attempt, operation.error or failure)


def _unfitness(attempt: Attempt) -> Failure | None:
    """Why this worker cannot run a playbook at all, if it cannot."""
    try:
        _secrets(attempt)
    except ConfigurationError as error:
        log.error("operation %s: %s", attempt.operation.id, error)  # noqa: TRY400  # a sentence, not a trace
        return Failure(code=Code.INTERNAL, message="the worker is not set up: its log says what is missing")
    return None


def _refuse(attempt: Attempt, failure: Failure) -> None:
    """Fail an operation that cannot be played here; what an earlier attempt made of it is named as left behind."""
    if attempt.operation.kind not in UNDO:
        _fail(attempt, failure)
        return
    attempt.persist(lambda: endings.begin_cleaning(attempt.database, attempt.lease, failure))
    _close(attempt, failure)


def _close(attempt: Attempt, failure: Failure) -> None:
    """End the undoing as far as it has come: what is not done is named as left behind."""
    server = server_of(attempt.operation)
    undo.close(attempt, server, failure, undo.begun(attempt, server, failure))


def _provision(attempt: Attempt, catalogue: Catalogue) -> None:
    server, failure = _try_vmids(attempt, catalogue)
    if failure is None and server is not None:
        _get_ready(attempt, server)
    elif failure is not None:
        _undo(attempt, failure, server)


def _start(attempt: Attempt) -> None:
    server = server_of(attempt.operation)
    if server is None:
        _undo(attempt, Failure(code=Code.INTERNAL, message="the server has no container: delete it and order again"))
        return
    failure = _play(attempt, Kind.START, _with_callback(attempt, server))
    if failure is None:
        _get_ready(attempt, server)
    else:
        _undo(attempt, failure, server)


def _get_ready(attempt: Attempt, server: Server) -> None:
    try:
        attempt.persist(
            lambda: endings.complete_ready(
                attempt.database,
                attempt.operation.instance_id,
                attempt.lease,
                address=attempt.address,
                message=f"{server.hostname} is ready",
            )
        )
    except CancelRequested:
        _undo(attempt, CANCELLED, server)


def _try_vmids(attempt: Attempt, catalogue: Catalogue) -> tuple[Server | None, Failure | None]:
    """Play the provision on a VMID of ours; one that proves to be somebody else's is left alone and another taken.

    A resumed or retried operation goes on with the VMID that it has.
    """
    failure: Failure | None = None
    server = server_of(attempt.operation)
    for _ in range(_VMID_TRIES):
        server = server or _allocate(attempt, catalogue)
        if server is None:
            return None, Failure(
                code=Code.VMID_TAKEN,
                phase=Phase.ALLOCATE_VMID,
                message=f"every VMID of the {attempt.operation.ctype} range is in use: widen it in the catalogue",
            )
        failure = _play(attempt, Kind.PROVISION, _with_callback(attempt, server))
        if failure is None or failure.code is not Code.VMID_TAKEN or _has_moved(attempt, failure):
            return server, failure
        taken, server, attempt.clone_upid = server.vmid, None, None
        attempt.persist(lambda vmid=taken: leases.give_up_vmid(attempt.database, attempt.lease, vmid))  # type: ignore[misc]
    return None, failure


def _has_moved(attempt: Attempt, failure: Failure) -> bool:
    """Whether the VMID that is taken elsewhere may be our own machine, which somebody moved: then it stays ours."""
    made_before = attempt.operation.retry_of is not None or attempt.clone_upid is not None
    return made_before and bool((failure.detail or {}).get("elsewhere"))


def _with_callback(attempt: Attempt, server: Server) -> Server:
    base = attempt.settings.public_url
    if base is None:
        return server
    token = attempt.persist(lambda: create_callback(attempt.database, attempt.lease))
    return replace(server, callback_url=f"{base}/api/callbacks/{token}")


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


_COMPLETE: dict[Kind, Callable[..., None]] = {
    Kind.TEARDOWN: endings.complete_teardown,
    Kind.STOP: endings.complete_stop,
    Kind.CLEANUP: endings.complete_cleanup,
}


def _remove(attempt: Attempt) -> None:
    """Teardown, stop and cleanup: there is nothing to undo, they only go on."""
    operation = attempt.operation
    # Our rows know whose names a server has; those of an order that failed early may be somebody else's.
    published = operation.kind is not Kind.CLEANUP or attempt.published
    server = server_of(operation, published=published, clone_upid=attempt.clone_upid)
    if server is not None:
        failure = _play(attempt, operation.kind, server)
        # Somebody else's machine on our VMID means that ours is gone: there is nothing left to remove.
        if failure is not None and (failure.code is not Code.NOT_OURS or operation.kind is Kind.STOP):
            _fail(attempt, failure)
            return
    complete = _COMPLETE[operation.kind]
    attempt.persist(lambda: complete(attempt.database, operation.instance_id, attempt.lease))


def _undo(attempt: Attempt, failure: Failure, server: Server | None = None, *, recorded: bool = False) -> None:
    """Record why it failed, unless an earlier attempt did, and undo it."""
    if not recorded:
        attempt.persist(lambda: endings.begin_cleaning(attempt.database, attempt.lease, failure))
    undo.undo(attempt, server or server_of(attempt.operation), failure)


def _fail(attempt: Attempt, failure: Failure) -> None:
    instance_id, seconds = attempt.operation.instance_id, attempt.settings.cleanup_retry_seconds
    attempt.persist(lambda: endings.fail(attempt.database, instance_id, attempt.lease, failure, attend_seconds=seconds))


def _play(attempt: Attempt, kind: Kind, server: Server) -> Failure | None:
    return attempt.play(played(kind), server.variables(attempt.settings), _secrets(attempt))


def _secrets(attempt: Attempt) -> dict[str, Any]:
    return read_secrets(attempt.settings.secrets_path)
