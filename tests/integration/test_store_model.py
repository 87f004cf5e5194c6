"""The store against a model: whatever is asked for in whatever order, the tables say what a few dictionaries say.

Workers die, come back late, leave and find each other's work; customers order, cancel, retry and delete; time passes.
After each step the tables must equal the model and hold the invariants; at the end everything must come to rest.
"""

import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.conninfo import make_conninfo

from orchestrator.domain.admission import Demand, request_hash
from orchestrator.domain.billing import BillingState
from orchestrator.domain.errors import CancelRequested, LostLease, Problem, ProblemCode
from orchestrator.domain.models import CANCELLED, Cleanup, Lease
from orchestrator.domain.operations import CLEANUP, KINDS, PROVISION, START, STOP, TEARDOWN, UNPUBLISH, OperationKind
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import OPERATION_FINAL, InstanceStatus, OperationStatus
from orchestrator.domain.updates import CleanupRecorded, CloneBegun, PhaseEntered, Update
from orchestrator.store import accounts, endings, leases, orders, requests
from orchestrator.store import sweep as sweeps
from orchestrator.store.connection import Database
from tests.support.storage import (
    CLEANED,
    FAILURE,
    LEAKED,
    SPEC,
    Swept,
    allocate_vmid,
    at_once,
    claimant,
    everything,
    lease_verbs,
    query,
    undone,
)
from tests.support.store_invariants import Invariants, compare, read
from tests.support.store_model import LONG_AGO, Instance, Model, Operation

HOUR = 3600
DAY = 86400
CUSTOMERS = ("one", "two")
LIMIT = 2
BOUNDS = (5000, 5004)
BODIES = (SPEC, SPEC | {"version": "1.21"})
STATES = ("active", "past_due", "suspended")
UNDOABLE = [kind for kind in KINDS.values() if kind.undo]
UNDOABLE = [kind for kind in KINDS.values() if kind.undo]
UNDOINGS: dict[str, tuple[Cleanup, dict[str, Any]]] = {
    "clean": (CLEANED, {}),
    "leaked": (LEAKED, {}),
    "uncertain": (CLEANED, {"certain": False}),
    "kept": (CLEANED, {"kept": True}),
    "kept, leaked": (LEAKED, {"kept": True}),
    "cancelled": (CLEANED, {"cancelled": True}),
    "cancelled, leaked": (LEAKED, {"cancelled": True}),
}
EMPTY = (
    "delete from operation; delete from instance; delete from archived_instance; delete from idempotency_key; "
    "delete from vmid_cursor; delete from foreign_vmid; delete from huey_task; delete from customer"
)


class Store(RuleBasedStateMachine):
    """One history of the store."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database

    @initialize(
        concurrency=st.integers(1, 3), ends=st.lists(st.sampled_from(["success", "kept", "kept, leaked"]), max_size=3)
    )
    def begin(self, concurrency: int, ends: list[str]) -> None:
        query(self.database, EMPTY)
        for customer in CUSTOMERS:
            accounts.ensure_customer(self.database, customer)
            accounts.update_customer(self.database, customer, max_instances=LIMIT)
        self.model = Model(CUSTOMERS, LIMIT, concurrency, BOUNDS)
        self.watch = Invariants(LIMIT, concurrency)
        self.given: list[Lease] = []
        for number, how in enumerate(ends):
            self.place_order(CUSTOMERS[0], f"at first {number}", SPEC)
            self.carry_out(how)

    @invariant()
    def agrees(self) -> None:
        tables = read(self.database)
        self.watch.check(tables)
        compare(tables, self.model)

    def teardown(self) -> None:
        if sys.exc_info()[0] is None and hasattr(self, "model"):
            self.drain()

    # what is asked for

    @rule(customer=st.sampled_from(CUSTOMERS), key=st.sampled_from("abcd"), body=st.sampled_from(BODIES))
    def order_with_key(self, customer: str, key: str, body: dict[str, Any]) -> None:
        self.place_order(customer, key, body)

    @rule(customer=st.sampled_from(CUSTOMERS), body=st.sampled_from(BODIES))
    def order_without_key(self, customer: str, body: dict[str, Any]) -> None:
        self.place_order(customer, None, body)

    def place_order(self, customer: str, key: str | None, body: dict[str, Any]) -> None:
        wanted = request_hash(body)
        expected = self.model.order(customer, key, wanted)
        order = orders.Order(customer, Demand(key, wanted, "game", 1, 1), body)
        placed = refusal_or(lambda: orders.place_order(self.database, order))
        if isinstance(placed, ProblemCode) or isinstance(expected, ProblemCode):
            assert placed == expected
        elif expected is not None:
            assert (placed.kind, placed.operation_id) == ("active" if key is None else "replay", expected.id)
        else:
            assert placed.kind == "accept"
            self.model.accept(customer, key, wanted, (placed.operation_id, placed.instance_id))

    @precondition(lambda self: self.model.instances)
    @rule(
        data=st.data(),
        kind=st.sampled_from([TEARDOWN, START, STOP]),
        who=st.sampled_from(["own", "foreign", "operator"]),
    )
    def request(self, data: st.DataObject, kind: OperationKind, who: str) -> None:
        instance: Instance = data.draw(st.sampled_from([*self.model.instances.values()]))
        customer = {"own": instance.customer, "foreign": "nobody"}.get(who)
        expected = self.model.request(instance, kind)
        placed = refusal_or(lambda: self.place(instance.id, kind, customer))
        if who == "foreign":
            assert placed is None
        elif isinstance(expected, ProblemCode) or isinstance(placed, ProblemCode):
            assert placed == expected
        elif expected is not None:
            assert placed == (expected.id, instance.id)
        else:
            assert placed is not None
            self.model.begin(instance, kind, placed[0])

    def place(self, instance_id: UUID, kind: OperationKind, customer: str | None) -> tuple[UUID, UUID] | None:
        found: dict[str, Any] = {"server_id": instance_id, "vmid": None, "customer_id": customer}
        return requests.place(self.database, kind, **found)

    def ended(self) -> list[Operation]:
        return [each for each in self.model.operations.values() if each.kind is PROVISION and not each.active]

    def kept(self) -> list[Operation]:
        return [each for each in self.ended() if each.instance.status is InstanceStatus.QUARANTINED]

    @precondition(lambda self: self.kept())
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        operation: Operation = data.draw(st.sampled_from([*self.kept(), *self.ended()]))
        assert requests.place_retry(self.database, operation.id, "nobody") is None
        expected = self.model.retry(operation)
        placed = refusal_or(lambda: requests.place_retry(self.database, operation.id, operation.instance.customer))
        if isinstance(expected, ProblemCode) or isinstance(placed, ProblemCode):
            assert placed == expected
        elif expected is not None:
            assert placed == expected.id
        else:
            assert placed is not None
            self.model.accept_retry(operation, placed)

    @precondition(lambda self: self.held() or any(each.retry_of for each in self.queued()))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        likely = [each for each in self.model.operations.values() if each.active and each.kind.undo]
        operation: Operation = data.draw(st.sampled_from([*reversed(likely), *self.model.operations.values()]))
        assert not requests.place_cancel(self.database, operation.id, "nobody")
        expected = self.model.cancel(operation)
        done = refusal_or(lambda: requests.place_cancel(self.database, operation.id, operation.instance.customer))
        assert done == (True if expected is None else expected)
        if operation in self.completable() and operation.cancelling:
            with pytest.raises(CancelRequested):
                self.write_success(operation)

    # what workers do

    @precondition(lambda self: any(each.waiting for each in self.model.operations.values()))
    @rule(worker=st.sampled_from(["w1", "w2", "w3"]))
    def claim(self, worker: str) -> None:
        self.take(worker)

    @precondition(lambda self: self.model.turn() is not None)
    @rule(how=st.sampled_from(["success", *UNDOINGS]))
    def carry_out(self, how: str) -> None:
        """A whole operation in one step, so that histories come far."""
        operation = self.take("w1")
        if operation is not None:
            self.end(operation, how)

    def take(self, worker: str) -> Operation | None:
        expected = self.model.turn()
        who = claimant(worker=worker, lease_seconds=HOUR, concurrency=self.model.concurrency)
        claimed = leases.claim_next(self.database, who)
        assert (claimed and claimed.operation.id) == (expected and expected.id)
        if expected is not None:
            self.model.claim(expected)
            self.given.append(self.lease(expected))
        return expected

    def lease(self, operation: Operation) -> Lease:
        return Lease(operation_id=operation.id, fencing_token=operation.token)

    def held(self, *kinds: OperationKind, status: OperationStatus | None = None) -> list[Operation]:
        """The operations of these kinds that a worker has the token of."""
        return [
            each for each in self.model.operations.values()
            if each.held and each.kind in (kinds or KINDS.values()) and status in (None, each.status)
        ]  # fmt: skip

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        operation: Operation = data.draw(st.sampled_from(self.held()))
        if operation.lease == "over":
            with pytest.raises(LostLease):
                leases.heartbeat(self.database, self.lease(operation), lease_seconds=HOUR)
        else:
            cancelled = leases.heartbeat(self.database, self.lease(operation), lease_seconds=HOUR)
            assert cancelled == operation.cancelling

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def enter(self, data: st.DataObject) -> None:
        operation: Operation = data.draw(st.sampled_from(self.held()))
        phase = data.draw(st.sampled_from(operation.kind.phases))
        written: list[Update] = [PhaseEntered(phase, "x")]
        if phase is Phase.CLONE_CONTAINER:
            written.append(CloneBegun("UPID:x", "cloning"))
        leases.record(self.database, self.lease(operation), written)

    def nameless(self) -> list[Operation]:
        return [each for each in self.held(PROVISION, status=OperationStatus.RUNNING) if each.vmid is None]

    @precondition(lambda self: self.nameless())
    @rule(data=st.data())
    def allocate(self, data: st.DataObject) -> None:
        self.name(data.draw(st.sampled_from(self.nameless())))

    def name(self, operation: Operation) -> None:
        expected = self.model.next_vmid()
        assert allocate_vmid(self.database, self.lease(operation), BOUNDS) == expected
        if expected is not None:
            self.model.name(operation, expected)

    @precondition(lambda self: self.named() and len(self.model.foreign) < 2)
    @rule(data=st.data())
    def give_up_vmid(self, data: st.DataObject) -> None:
        operation: Operation = data.draw(st.sampled_from(self.named()))
        assert operation.vmid is not None
        leases.give_up_vmid(self.database, self.lease(operation), operation.vmid)
        self.model.foreign.add(operation.vmid)
        self.model.name(operation, None)

    def named(self) -> list[Operation]:
        return [each for each in self.held(PROVISION, status=OperationStatus.RUNNING) if each.vmid is not None]

    def completable(self) -> list[Operation]:
        return [each for each in self.held(status=OperationStatus.RUNNING) if each not in self.nameless()]

    @precondition(lambda self: self.completable())
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        operation: Operation = data.draw(st.sampled_from(self.completable()))
        if operation.cancelling and operation.kind.undo:
            with pytest.raises(CancelRequested):
                self.write_success(operation)
        else:
            self.write_success(operation)
            self.model.complete(operation)

    def write_success(self, operation: Operation) -> None:
        given = (operation.instance.id, self.lease(operation))
        endings.complete(self.database, operation.kind, *given)

    @precondition(lambda self: self.held(*UNDOABLE, status=OperationStatus.RUNNING))
    @rule(data=st.data())
    def begin_cleaning(self, data: st.DataObject) -> None:
        self.clean(data.draw(st.sampled_from(self.held(*UNDOABLE, status=OperationStatus.RUNNING))))

    def clean(self, operation: Operation) -> None:
        failure = CANCELLED if operation.cancelling else FAILURE
        endings.begin_cleaning(self.database, self.lease(operation), failure)
        operation.status = OperationStatus.CLEANING

    @precondition(lambda self: self.held(status=OperationStatus.CLEANING))
    @rule(data=st.data(), how=st.sampled_from(sorted(UNDOINGS)))
    def undo(self, data: st.DataObject, how: str) -> None:
        operation: Operation = data.draw(st.sampled_from(self.held(status=OperationStatus.CLEANING)))
        self.finish(operation, self.fitting(operation, how))

    def fitting(self, operation: Operation, how: str) -> str:
        """How the undoing of it can end: only a machine is kept, and what was never made is not left behind."""
        if how not in UNDOINGS or operation.vmid is None or (operation.kind is START and "kept" in how):
            return "cancelled" if operation.cancelling else "clean"
        return how

    def finish(self, operation: Operation, how: str) -> None:
        cleanup, changes = UNDOINGS[how]
        ended = undone(cleanup, kind=operation.kind, attend_seconds=HOUR, quarantine_seconds=HOUR, **changes)
        leases.record(self.database, self.lease(operation), [CleanupRecorded(cleanup)])
        endings.finish_undone(self.database, operation.instance.id, self.lease(operation), ended)
        self.model.undo(operation, ended)

    @precondition(lambda self: self.held(TEARDOWN, STOP, CLEANUP, UNPUBLISH))
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        self.write_failure(data.draw(st.sampled_from(self.held(TEARDOWN, STOP, CLEANUP, UNPUBLISH))))

    def write_failure(self, operation: Operation) -> None:
        lease = self.lease(operation)
        endings.fail(self.database, operation.instance.id, lease, FAILURE, attend_seconds=HOUR)
        self.model.fail(operation)

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def hand_over(self, data: st.DataObject) -> None:
        operation: Operation = data.draw(st.sampled_from(self.held()))
        leases.hand_over(self.database, self.lease(operation))
        self.model.hand_over(operation)

    def running(self) -> list[Operation]:
        return [each for each in self.held() if each.status is OperationStatus.RUNNING]

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def put_off(self, data: st.DataObject) -> None:
        operation: Operation = data.draw(st.sampled_from(self.running()))
        leases.put_off(self.database, self.lease(operation), HOUR, "waiting: slow down")
        self.model.put_off(operation)

    def stale(self) -> list[Lease]:
        current = {each.id: each.token for each in self.model.operations.values() if each.held}
        return [lease for lease in self.given if current.get(lease.operation_id) != lease.fencing_token]

    @precondition(lambda self: self.stale())
    @rule(data=st.data())
    def write_late(self, data: st.DataObject) -> None:
        lease: Lease = data.draw(st.sampled_from(self.stale()))
        before = everything(self.database)
        for verb in lease_verbs(self.model.operations[lease.operation_id].instance.id).values():
            with pytest.raises(LostLease):
                verb(self.database, lease)
        assert everything(self.database) == before

    # time passes

    @precondition(lambda self: self.model.live())
    @rule(data=st.data())
    def lose_worker(self, data: st.DataObject) -> None:
        self.expire_lease(data.draw(st.sampled_from([each for each in self.held() if each.lease == "live"])))

    def expire_lease(self, operation: Operation) -> None:
        text = "update operation set lease_expires_at = now() - interval '1 second' where id = %s"
        query(self.database, text, operation.id)
        operation.lease = "over"

    @precondition(lambda self: self.queued())
    @rule(data=st.data())
    def let_wait(self, data: st.DataObject) -> None:
        operation: Operation = data.draw(st.sampled_from(self.queued()))
        query(
            self.database,
            "update operation set created_at = created_at - interval '2 days' where id = %s",
            operation.id,
        )
        operation.created -= LONG_AGO

    def queued(self) -> list[Operation]:
        return [each for each in self.model.operations.values() if each.status is OperationStatus.QUEUED]

    @rule(what=st.sampled_from(["timers", "timers", "keys", "messages", *STATES]), customer=st.sampled_from(CUSTOMERS))
    def change_the_world(self, what: str, customer: str) -> None:
        match what:
            case "timers":
                self.let_time_pass()
            case "keys":
                query(self.database, "update idempotency_key set created_at = now() - interval '8 days'")
                self.model.keys.clear()
            case "messages":
                self.lose_messages()
            case state:
                accounts.update_customer(self.database, customer, billing_state=state)
                self.model.customers[customer].state = BillingState(state)

    def let_time_pass(self) -> None:
        """Whatever is set to happen is due."""
        for column in ("attend_at", "expires_at"):
            text = f"update instance set {column} = now() - interval '1 second' where {column} is not null"  # noqa: S608
            query(self.database, text)
        query(self.database, "update operation set due_at = now() - interval '1 second' where due_at is not null")
        for operation in self.model.operations.values():
            operation.due = operation.due and "due"
        for instance in self.model.instances.values():
            instance.attend = instance.attend and "due"
            instance.expires = instance.expires and "due"

    def lose_messages(self) -> None:
        """The queue is emptied, and that is long ago."""
        query(self.database, "delete from huey_task")
        text = "update operation set enqueued_at = enqueued_at - interval '2 days' where finished_at is null"
        query(self.database, text)
        self.model.queue_empty = True
        for operation in self.model.operations.values():
            operation.forgotten = True

    @rule(sweepers=st.sampled_from([1, 1, 1, 2]))
    def sweep(self, sweepers: int) -> None:
        swept = at_once(sweepers, lambda _: self.sweep_once())
        expected = self.model.sweep()
        assert sorted(one for each in swept for one in each.lost) == sorted(expected.lost)
        assert sorted(one for each in swept for one in each.overdue) == sorted(expected.overdue)
        assert sorted(one for each in swept for one in each.unwanted) == sorted(expected.unwanted)
        woken = [one for each in swept for one in each.woken]
        assert len(woken) == len(set(woken)), "one is woken twice"
        assert set(woken) <= set(expected.woken)
        # A message that was put into the queue just before wakes a worker too, who then takes whatever waits.
        if not (expected.lost or expected.begun):
            assert len(woken) >= min(len(expected.woken), self.model.concurrency)
        for operation_id in woken:
            self.model.operations[operation_id].forgotten = False
        self.learn([one for each in swept for one in each.begun], expected.begun)

    def sweep_once(self) -> Swept:
        return Swept(
            lost=sweeps.rescue_lost(self.database, attend_seconds=HOUR),
            overdue=sweeps.expire_overdue(self.database, queue_seconds=DAY, quarantine_seconds=HOUR),
            unwanted=sweeps.cancel_unwanted(self.database),
            begun=sweeps.attend_leftovers(self.database),
            woken=sweeps.wake_forgotten(self.database, requeue_seconds=DAY, concurrency=self.model.concurrency),
        )

    def learn(self, begun: list[UUID], expected: list[tuple[Instance, OperationKind]]) -> None:
        """Take what a sweep began into the model, one after the other: their order in one statement is chance."""
        found = query(self.database, "select instance_id, kind, id from operation where id = any(%s)", begun)
        ids = {(instance_id, KINDS[kind]): operation_id for instance_id, kind, operation_id in found}
        assert ids.keys() == {(instance.id, kind) for instance, kind in expected}
        for instance, kind in expected:
            operation_id = ids[instance.id, kind]
            query(self.database, "update operation set created_at = clock_timestamp() where id = %s", operation_id)
            self.model.begin(instance, kind, operation_id, own=True)

    # the end

    def drain(self) -> None:
        """Every worker dies, and others take whatever waits to its end: then all is at rest and nothing is left."""
        for operation in self.held():
            self.expire_lease(operation)
        instances = self.model.instances
        for _ in range(10):
            self.let_time_pass()
            self.lose_messages()
            self.sweep(1)
            if self.model.turn() is None and not any(each.attend or each.expires for each in instances.values()):
                break
            while self.model.turn() is not None:
                self.carry_out("success")
        self.agrees()
        assert all(each.status in OPERATION_FINAL for each in self.model.operations.values())
        for instance in self.model.instances.values():
            at_rest = (InstanceStatus.READY, InstanceStatus.STOPPED, InstanceStatus.FAILED)
            assert instance.status in at_rest
            assert not instance.leaked
            assert (instance.vmid is None) == (instance.status is InstanceStatus.FAILED)

    def end(self, operation: Operation, how: str = "success") -> None:
        """Take a claimed operation to its end as a worker does, well if it can be."""
        if operation in self.nameless():
            self.name(operation)
        undoes = operation.kind.undo
        if operation.status is OperationStatus.RUNNING and how == "success" and not self.hopeless(operation):
            self.write_success(operation)
            self.model.complete(operation)
        elif not undoes:
            self.write_failure(operation)
        else:
            if operation.status is OperationStatus.RUNNING:
                self.clean(operation)
            self.finish(operation, self.fitting(operation, how))

    def hopeless(self, operation: Operation) -> bool:
        return bool(operation.kind.undo) and (operation.cancelling or operation.vmid is None)


def refusal_or(verb: Callable[[], Any]) -> Any:
    """What a verb returns, or why it refuses."""
    try:
        return verb()
    except Problem as problem:
        return problem.code


@pytest.mark.timeout(3600)  # making a failure small takes minutes, and the long profile has many more examples
def test_agrees_with_the_model_whatever_happens(database_url: str) -> None:
    # Nothing here crashes the server, so nothing need reach its disk.
    database = Database(make_conninfo(database_url, options="-c synchronous_commit=off"), size=4)
    database.open()

    class Here(Store):
        def __init__(self) -> None:
            super().__init__(database)

    size = settings(max_examples=settings().max_examples // 2, stateful_step_count=30)
    run_state_machine_as_test(Here, settings=size)
    database.close()
