"""What the store must say, as a small model in plain Python: no SQL, no locks, no clock but a counter."""

from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from orchestrator.domain.billing import REFUSALS, Action, BillingState, refuse
from orchestrator.domain.errors import ProblemCode
from orchestrator.domain.operations import CLEANUP, PROVISION, START, STOP, TEARDOWN, UNPUBLISH, Ending, OperationKind
from orchestrator.domain.states import OPERATION_FINAL, InstanceStatus, OperationStatus
from orchestrator.store.endings import Undone

UNCOUNTED = (InstanceStatus.FAILED, InstanceStatus.QUARANTINED)
BECOMES = {TEARDOWN: InstanceStatus.DELETING}
RUNNABLE = (InstanceStatus.READY, InstanceStatus.STOPPING, InstanceStatus.STOPPED)
LONG_AGO = 1_000_000
Moment = Literal["later", "due"] | None
"""A time that is set: still to come, or past."""


@dataclass(eq=False)
class Operation:
    """What the model knows of an operation."""

    id: UUID
    instance: "Instance"
    kind: OperationKind
    created: int
    request_hash: bytes = b""
    background: bool = False
    retry_of: UUID | None = None
    vmid: int | None = None
    status: OperationStatus = OperationStatus.QUEUED
    attempt: int = 0
    losses: int = 0
    token: int = 0
    lease: Literal["live", "over"] | None = None
    cancelling: bool = False
    forgotten: bool = False
    due: Moment = None

    def __repr__(self) -> str:
        return f"{self.kind} {self.status} {str(self.id)[:8]}"

    @property
    def active(self) -> bool:
        """Whether it still holds its instance."""
        return self.status not in OPERATION_FINAL

    @property
    def held(self) -> bool:
        """Whether a worker has its token."""
        return self.status in (OperationStatus.RUNNING, OperationStatus.CLEANING)

    @property
    def waiting(self) -> bool:
        """Whether a worker may take it."""
        cut_off = self.status is OperationStatus.CLEANING and self.lease == "over"
        return (self.status is OperationStatus.QUEUED and self.due != "later") or cut_off


@dataclass(eq=False)
class Instance:
    """What the model knows of an instance."""

    id: UUID
    customer: str
    status: InstanceStatus = InstanceStatus.PROVISIONING
    vmid: int | None = None
    leaked: list[str] = field(default_factory=list)
    attend: Moment = None
    expires: Moment = None

    def __repr__(self) -> str:
        return f"{self.status} {self.vmid} {str(self.id)[:8]}"


@dataclass(eq=False)
class Customer:
    """What the model knows of a customer."""

    state: BillingState = BillingState.ACTIVE
    served: int = -1


@dataclass(eq=False)
class Expected:
    """What a sweep should do."""

    lost: list[UUID]
    overdue: list[UUID]
    begun: list[tuple[Instance, OperationKind]]
    woken: list[UUID]
    unwanted: list[UUID]


class Model:
    """The whole store. Each verb makes its change and returns what the store should answer."""

    def __init__(self, customers: tuple[str, ...], limit: int, concurrency: int, bounds: tuple[int, int]) -> None:
        """Begin with nothing but customers; each may have `limit` instances."""
        self.customers = {name: Customer() for name in customers}
        self.limit, self.concurrency, self.bounds = limit, concurrency, bounds
        self.operations: dict[UUID, Operation] = {}
        self.instances: dict[UUID, Instance] = {}
        self.archived: set[UUID] = set()
        self.keys: dict[tuple[str, str], Operation] = {}
        self.foreign: set[int] = set()
        self.cursor = bounds[0] - 1
        self.queue_empty = True
        self._ticks = 0

    def tick(self) -> int:
        """The next moment."""
        self._ticks += 1
        return self._ticks

    def add(self, operation: Operation) -> None:
        """An operation that waits, with its message."""
        self.operations[operation.id] = operation
        self.queue_empty = False

    def active(self, instance: Instance) -> Operation | None:
        """The operation that holds an instance now, if any."""
        return next((each for each in self.operations.values() if each.active and each.instance is instance), None)

    def live(self, customer: str | None = None) -> int:
        """How many operations are worked on under a lease that holds."""
        return sum(
            each.held and each.lease == "live" and customer in (None, each.instance.customer)
            for each in self.operations.values()
        )

    # what is asked for

    def order(self, customer: str, key: str | None, request_hash: bytes) -> Operation | ProblemCode | None:
        """The operation that an order meets, why it is refused, or None when it is accepted."""
        known = self.keys.get((customer, key or ""))
        if known is not None:
            return known if known.request_hash == request_hash else ProblemCode.IDEMPOTENCY_KEY_REUSED
        state = self.customers[customer].state
        if refuse(state, Action.ORDER) is not None:
            return REFUSALS[state][0]
        orders = [
            each for each in self.operations.values()
            if each.active and each.kind is PROVISION and each.instance.customer == customer
        ]  # fmt: skip
        if key is None and orders:
            same = [each for each in orders if each.request_hash == request_hash]
            return min(same, key=lambda each: each.created) if same else ProblemCode.CREATE_IN_PROGRESS
        return self._over_quota(customer)

    def _over_quota(self, customer: str) -> ProblemCode | None:
        used = sum(each.customer == customer and each.status not in UNCOUNTED for each in self.instances.values())
        return ProblemCode.QUOTA_EXCEEDED if used >= self.limit else None

    def accept(self, customer: str, key: str | None, request_hash: bytes, ids: tuple[UUID, UUID]) -> None:
        """An order that was accepted as (operation, instance)."""
        instance = self.instances[ids[1]] = Instance(ids[1], customer)
        operation = Operation(ids[0], instance, PROVISION, self.tick(), request_hash)
        self.add(operation)
        if key is not None:
            self.keys[customer, key] = operation

    def request(self, instance: Instance, kind: OperationKind) -> Operation | ProblemCode | None:
        """As `order`, for a teardown, a start or a stop."""
        active = self.active(instance)
        if active is not None:
            return active if active.kind is kind else ProblemCode.INSTANCE_BUSY
        if kind in BECOMES or instance.status in RUNNABLE:
            return None
        return ProblemCode.NOT_STARTABLE

    def begin(self, instance: Instance, kind: OperationKind, operation_id: UUID, *, own: bool = False) -> None:
        """A request that was accepted, or an operation of our own."""
        may_come_late = instance.status is InstanceStatus.FAILED and instance.vmid is not None and not instance.leaked
        instance.attend = instance.attend if may_come_late and not own else None
        if instance.status is InstanceStatus.STOPPING and kind is not TEARDOWN and not own:
            instance.attend = "due"
        instance.status = BECOMES.get(kind, instance.status)
        instance.expires = instance.expires if kind is UNPUBLISH else None
        background = own and kind is not STOP
        self.add(Operation(operation_id, instance, kind, self.tick(), background=background, vmid=instance.vmid))

    def retry(self, operation: Operation) -> Operation | ProblemCode | None:
        """As `order`, for the retry of an operation."""
        for each in self.operations.values():
            if each.retry_of == operation.id and each.active:
                return each
        kept = operation.instance.id in self.instances and operation.instance.status is InstanceStatus.QUARANTINED
        if operation.kind is not PROVISION or operation.status is not OperationStatus.FAILED or not kept:
            return ProblemCode.NOT_RETRYABLE
        state = self.customers[operation.instance.customer].state
        if refuse(state, Action.RETRY) is not None:
            return REFUSALS[state][0]
        busy = ProblemCode.INSTANCE_BUSY if self.active(operation.instance) else None
        return self._over_quota(operation.instance.customer) or busy

    def accept_retry(self, operation: Operation, retry_id: UUID) -> None:
        """A retry that was accepted."""
        instance = operation.instance
        instance.status, instance.attend, instance.expires = InstanceStatus.PROVISIONING, None, None
        self.add(
            Operation(retry_id, instance, PROVISION, self.tick(), operation.request_hash, retry_of=operation.id,
                      vmid=instance.vmid)
        )  # fmt: skip

    def cancel(self, operation: Operation) -> ProblemCode | None:
        """Why a cancel is refused, if it is; else it is done."""
        if not operation.active:
            return ProblemCode.ALREADY_FINISHED
        if not operation.kind.undo:
            return ProblemCode.NOT_CANCELLABLE
        operation.cancelling = True
        if operation.status is OperationStatus.QUEUED and operation.attempt == 0 and operation.retry_of is None:
            operation.status = OperationStatus.CANCELLED
            if operation.kind is PROVISION:
                operation.instance.status = InstanceStatus.FAILED
        elif operation.status is OperationStatus.QUEUED:
            operation.due, self.queue_empty = None, False
        return None

    # what workers do

    def turn(self) -> Operation | None:
        """Whose turn it is."""
        if self.live() >= self.concurrency:
            return None
        waiting = (each for each in self.operations.values() if each.waiting and not self._is_early(each.instance))
        return min(waiting, key=self._rank, default=None)

    def _is_early(self, instance: Instance) -> bool:
        """Whether a clone that may come late is waited for before it is deleted."""
        return instance.status is InstanceStatus.DELETING and instance.attend == "later"

    def _rank(self, operation: Operation) -> tuple[bool, bool, int, int, int]:
        customer = operation.instance.customer
        served = self.customers[customer].served
        own = operation.background and operation.created >= 0
        return own, operation.attempt == 0, self.live(customer), served, operation.created

    def claim(self, operation: Operation) -> None:
        """A worker takes it."""
        if operation.status is OperationStatus.QUEUED:
            operation.status = OperationStatus.RUNNING
        operation.token += 1
        operation.attempt += 1
        operation.lease, operation.due = "live", None
        if operation.kind is STOP:
            operation.instance.status = InstanceStatus.STOPPING
        self.customers[operation.instance.customer].served = self.tick()

    def next_vmid(self) -> int | None:
        """The next free VMID, round robin."""
        first, final = self.bounds
        taken = self.foreign | {each.vmid for each in self.instances.values() if each.vmid is not None}
        ring = [*range(self.cursor + 1, final + 1), *range(first, self.cursor + 1)]
        return next((vmid for vmid in ring if vmid not in taken), None)

    def name(self, operation: Operation, vmid: int | None) -> None:
        """It has this VMID, or none any more."""
        operation.vmid = operation.instance.vmid = vmid
        self.cursor = vmid or self.cursor

    def hand_over(self, operation: Operation) -> None:
        """Its worker leaves."""
        operation.token += 1
        if operation.status is OperationStatus.RUNNING:
            operation.status, operation.lease = OperationStatus.QUEUED, None
        else:
            operation.lease = "over"
        operation.forgotten = self.queue_empty = False

    def put_off(self, operation: Operation) -> None:
        """Somebody outside wants to be left alone."""
        operation.token += 1
        operation.status, operation.lease, operation.forgotten = OperationStatus.QUEUED, None, False
        operation.attempt = max(operation.attempt - 1, 1)
        operation.due = None if operation.cancelling else "later"

    def complete(self, operation: Operation) -> None:
        """It succeeded."""
        operation.status, operation.lease = OperationStatus.SUCCEEDED, None
        instance = operation.instance
        match operation.kind.ending:
            case Ending.READY:
                instance.status, instance.leaked = InstanceStatus.READY, []
            case Ending.STOPPED:
                instance.status, instance.leaked = InstanceStatus.STOPPED, []
            case Ending.ARCHIVED:
                del self.instances[instance.id]
                self.archived.add(instance.id)
            case Ending.CLEANED:
                instance.vmid, instance.leaked = None, []
            case Ending.UNPUBLISHED:
                instance.leaked = []
        instance.attend = None

    def undo(self, operation: Operation, undone: Undone) -> None:
        """It is undone."""
        operation.status = OperationStatus.CANCELLED if undone.cancelled else OperationStatus.FAILED
        operation.lease = None
        instance, leaked = operation.instance, list(undone.cleanup.leaked)
        if operation.kind is START:
            instance.leaked, instance.attend = leaked, "later" if leaked else None
            instance.status = InstanceStatus.STOPPING if leaked else InstanceStatus.STOPPED
            return
        instance.leaked = leaked
        if undone.kept:
            instance.status, instance.expires = InstanceStatus.QUARANTINED, "later"
            instance.attend = "later" if leaked else None
            return
        instance.status = InstanceStatus.FAILED
        instance.attend = "later"
        if undone.certain and not leaked:
            instance.vmid = instance.attend = None

    def fail(self, operation: Operation) -> None:
        """It failed, and nothing is undone."""
        operation.status, operation.lease = OperationStatus.FAILED, None
        operation.instance.attend = "later"

    # the sweep

    def sweep(self) -> Expected:
        """What a sweep should do; what it begins is not in the model yet."""
        unwoken = self.queue_empty
        lost = [
            each for each in self.operations.values() if each.status is OperationStatus.RUNNING and each.lease == "over"
        ]
        for operation in lost:
            self._lose(operation)
        overdue = [each for each in self.operations.values() if self._is_overdue(each)]
        for operation in overdue:
            operation.status = OperationStatus.FAILED
            self._give_up(operation)
        unwanted = [each for each in self.operations.values() if self._is_unwanted(each)]
        for operation in unwanted:
            operation.status = OperationStatus.CANCELLED
        begun = [(each, kind) for each in self.instances.values() if (kind := self._wants(each)) is not None]
        woken = [each.id for each in self.operations.values() if unwoken and each.waiting and each.forgotten]
        if lost or begun or woken:
            self.queue_empty = False
        return Expected(
            [each.id for each in lost], [each.id for each in overdue], begun, woken, [each.id for each in unwanted]
        )

    def _lose(self, operation: Operation) -> None:
        if operation.losses == 0 and not operation.cancelling:
            operation.status = OperationStatus.QUEUED
        elif operation.kind.undo:
            operation.status = OperationStatus.CLEANING
        else:
            operation.status = OperationStatus.FAILED
            operation.instance.attend = "later"
        if operation.status is not OperationStatus.CLEANING:
            operation.lease = None
        operation.losses += 1
        operation.token += 1
        operation.forgotten = False

    def _is_overdue(self, operation: Operation) -> bool:
        fresh = operation.status is OperationStatus.QUEUED and operation.attempt == 0
        return fresh and operation.kind.cancellable and operation.created < 0

    def _is_unwanted(self, operation: Operation) -> bool:
        fresh = operation.status is OperationStatus.QUEUED and operation.attempt == 0
        return fresh and operation.kind is START and self._is_stopped(operation.instance)

    def _is_stopped(self, instance: Instance) -> bool:
        return refuse(self.customers[instance.customer].state, Action.START) is not None

    def _give_up(self, operation: Operation) -> None:
        instance = operation.instance
        if operation.kind is PROVISION and operation.retry_of is None:
            instance.status = InstanceStatus.FAILED
        elif operation.kind is PROVISION:
            instance.status, instance.expires = InstanceStatus.QUARANTINED, "later"
            instance.attend = "due" if instance.leaked else None

    def _wants(self, instance: Instance) -> OperationKind | None:
        if self.active(instance) is not None:
            return None
        if instance.expires == "due":
            return TEARDOWN
        unwanted = instance.status is InstanceStatus.READY and self._is_stopped(instance)
        if instance.attend == "due" or (instance.attend is None and (instance.leaked or unwanted)):
            return {
                InstanceStatus.FAILED: CLEANUP,
                InstanceStatus.DELETING: TEARDOWN,
                InstanceStatus.QUARANTINED: UNPUBLISH,
            }.get(instance.status, STOP)
        return None
