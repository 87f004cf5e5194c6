"""Requests about an instance or an operation that exists. Each is one transaction."""

from typing import Any
from uuid import UUID, uuid4

from orchestrator.domain import admission
from orchestrator.domain.billing import Action, refuse
from orchestrator.domain.errors import Problem, ProblemCode
from orchestrator.domain.models import CANCELLED, InstanceRow
from orchestrator.domain.operations import KINDS, PROVISION, OperationKind
from orchestrator.domain.states import OPERATION_FINAL, OperationStatus
from orchestrator.store.connection import Connection, Database
from orchestrator.store.orders import Order, enqueue, read_facts, rouse
from orchestrator.store.queries import as_json, execute, fetch_row


def place(
    database: Database, kind: OperationKind, *, server_id: UUID | None, vmid: int | None, customer_id: str | None
) -> tuple[UUID, UUID] | None:
    """Ask for an operation on an instance. Returns (operation, instance), or None when there is no such instance.

    Asking again while it runs gives the same operation. Raises Problem: instance-busy while another one is active, and
    not-startable when the instance is in no state for it.
    """
    with database.transaction() as connection:
        row = fetch_row(connection, "lock_instance", server_id=server_id, vmid=vmid, customer_id=customer_id)
        if row is None:
            return None
        instance = InstanceRow.model_validate(row)
        active = fetch_row(connection, "active_operation", instance_id=instance.id)
        if active is not None:
            return _meet_active(active, kind), instance.id
        if instance.status not in kind.begins_in:
            states = " or ".join(sorted(kind.begins_in))
            raise Problem(
                ProblemCode.NOT_STARTABLE, f"the server is {instance.status}: only a {states} one can {kind.name}"
            )
        operation_id = uuid4()
        execute(
            connection,
            "insert_request",
            operation_id=operation_id,
            request_id=uuid4(),
            instance_id=instance.id,
            kind=kind.name,
            instance_status=kind.held_in,
        )
        enqueue(connection, operation_id)
        return operation_id, instance.id


def _meet_active(active: dict[str, Any], kind: OperationKind) -> UUID:
    if active["kind"] == kind.name:
        return UUID(str(active["id"]))
    raise _busy(active)


def _busy(active: dict[str, Any]) -> Problem:
    known = KINDS.get(active["kind"])
    busy = known.busy if known else f"another operation ({active['kind']}) is under way: wait until it has finished"
    return Problem(ProblemCode.INSTANCE_BUSY, busy, {"operationId": str(active["id"])})


def place_cancel(database: Database, operation_id: UUID, customer_id: str | None) -> bool:
    """Cancel an operation at once when nothing was done for it. Else the worker that holds it, or takes it next, does.

    Returns whether there is such an operation. Raises Problem: already-finished, and not-cancellable for what cannot be
    undone.
    """
    with database.transaction() as connection:
        row = fetch_row(connection, "lock_operation", operation_id=operation_id, customer_id=customer_id)
        if row is None:
            return False
        if row["status"] in OPERATION_FINAL:
            raise Problem(ProblemCode.ALREADY_FINISHED, f"the operation has {_ENDED[row['status']]} already")
        kind = KINDS.get(row["kind"])
        if kind is None or not kind.cancellable:
            raise Problem(
                ProblemCode.NOT_CANCELLABLE, f"a {row['kind']} cannot be taken back: wait until it has finished"
            )
        # A retry has a machine from its order's first try, so even a fresh one leaves something to undo.
        if row["status"] == OperationStatus.QUEUED and row["attempt"] == 0 and row["retry_of"] is None:
            error, message = as_json(CANCELLED), CANCELLED.message
            execute(connection, "cancel_waiting", operation_id=operation_id, error=error, message=message)
        else:
            execute(connection, "request_cancel", operation_id=operation_id, message="cancel requested")
            if row["status"] == OperationStatus.QUEUED:
                rouse(connection, operation_id)
        return True


_ENDED = {
    OperationStatus.SUCCEEDED: "succeeded",
    OperationStatus.FAILED: "failed",
    OperationStatus.CANCELLED: "been cancelled",
}


def place_retry(database: Database, operation_id: UUID, customer_id: str | None) -> UUID | None:
    """Continue a failed order at its failed phase, on the machine that was kept. Returns the new operation.

    None when there is no such operation. Asking again while it runs gives the same one. The decision is made on the
    customer's facts, as for an order. Raises Problem: not-retryable, instance-busy while another operation is active,
    and what refuses an order.
    """
    with database.connection() as connection:
        while True:
            kept = fetch_row(connection, "retry_facts", operation_id=operation_id, customer_id=customer_id)
            if kept is None:
                return None
            if kept["active_retry"] is not None:
                return UUID(str(kept["active_retry"]))
            _require_kept(kept)
            retry = _try_retry(connection, kept)
            if retry is not None:
                return retry


def _try_retry(connection: Connection, kept: dict[str, Any]) -> UUID | None:
    demand = admission.Demand(None, kept["request_hash"], kept["ctype"], kept["memory_mib"], kept["cpu_cores"])
    facts = read_facts(connection, Order(kept["customer_id"], demand, kept["spec"]))
    # The account may have been stopped since the request came in. These are the facts that the retry is written on.
    refusal = refuse(facts.billing_state, Action.RETRY)
    if refusal is not None:
        raise refusal
    admission.check_quota(demand, facts)
    retry = uuid4()
    row = {
        "operation_id": retry,
        "request_id": uuid4(),
        "retry_of": kept["id"],
        "revision": facts.revision,
        "instance_id": kept["instance_id"],
        "customer_id": kept["customer_id"],
        "request_hash": kept["request_hash"],
        "kind": PROVISION.name,
    }
    with connection.transaction():
        # The sweep may begin something for the kept machine until its row is locked.
        fetch_row(
            connection, "lock_instance", server_id=kept["instance_id"], vmid=None, customer_id=kept["customer_id"]
        )
        active = fetch_row(connection, "active_operation", instance_id=kept["instance_id"])
        if active is not None and active["kind"] != PROVISION.name:
            raise _busy(active)
        if active is not None or execute(connection, "insert_retry", **row) == 0:
            return None
        rouse(connection, retry)
    return retry


def _require_kept(kept: dict[str, Any]) -> None:
    if kept["kind"] == PROVISION.name and kept["status"] == OperationStatus.FAILED and kept["is_kept"]:
        return
    raise Problem(
        ProblemCode.NOT_RETRYABLE,
        "only a failed order whose machine was kept (onFailure: keep) can be retried: order again",
    )
