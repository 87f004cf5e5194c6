"""The table of the kinds of operations, and what follows from it.

An entry names the steps of a kind in order, each with the phase that undoes it, and the few facts that cannot be
derived. All else is derived from the table: the playbook, what a cancel, a lost worker or a failure undoes, the
parameters of the queries, the answers of the API, and the tables in docs/. A new kind needs an entry here, a playbook
of its name, an endpoint and a command.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.domain.billing import Action
from orchestrator.domain.phases import Phase
from orchestrator.domain.states import InstanceStatus


class Asker(StrEnum):
    """Who may ask for an operation."""

    CUSTOMER = "customer"
    """The owner of the instance, and operators."""
    SWEEP = "sweep"
    """Nobody. A worker's sweep begins it."""


class Ending(StrEnum):
    """What becomes of the instance when the operation succeeds."""

    READY = "ready"
    STOPPED = "stopped"
    UNPUBLISHED = "unpublished"
    """Nothing of a kept machine is published any more, and the machine stays."""
    CLEANED = "cleaned"
    """Nothing is left of a failed order, and its row stays."""
    ARCHIVED = "archived"
    """The row of the instance moves to the archive."""


@dataclass(frozen=True)
class Step:
    """A phase, and the phase that undoes it."""

    phase: Phase
    undo: Phase | None = None


@dataclass(frozen=True)
class OperationKind:
    """One kind of operation."""

    name: str
    steps: tuple[Step, ...]
    """The steps, in the order in which they are taken."""
    ending: Ending
    final_phase: Phase
    """The phase that writes the result of an operation that succeeded."""
    success: str
    """The last line in the log of an operation that succeeded. {hostname} stands for the server's name."""
    busy: str
    """The answer to whoever asks for something else while the operation is active."""
    begins_in: frozenset[InstanceStatus]
    """The states of an instance in which the operation can be asked for."""
    held_in: InstanceStatus | None = None
    """The state of the instance while the operation is active. None means that the instance keeps its state."""
    works_in: InstanceStatus | None = None
    """The state that the instance gets when a worker takes the operation. None means that it keeps its state."""
    action: Action | None = None
    """The action that the customer's billing state must allow when somebody asks for it on an instance. It is None for
    an order, which domain.admission decides about, and for what only a sweep begins."""
    asker: Asker = Asker.CUSTOMER
    cancellable: bool = False
    """Whether it can be cancelled, which undoes it. Such an operation also expires when no worker begins it in time."""
    deadline_seconds: int = 900
    """How long it may run in all, counted from its first claim. A setting can replace this."""
    book: str | None = None
    """The name of its playbook, without `.yml`, when it is not the name of the kind."""

    def deadline(self, set_seconds: float | None) -> float:
        """Return the seconds that it may run in all. `set_seconds` is the setting."""
        return set_seconds or self.deadline_seconds

    @property
    def playbook(self) -> str:
        """The name of its playbook, without `.yml`."""
        return self.book or self.name

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Every phase, in order."""
        return (*(step.phase for step in self.steps), self.final_phase)

    @property
    def played(self) -> tuple[Phase, ...]:
        """The phases that are plays of its playbook, in order."""
        return tuple(phase for phase in self.phases if phase.is_played)

    @property
    def undo(self) -> tuple[Phase, ...]:
        """The phases that undo it, those of the last step first. When there are none, it can only go on."""
        return tuple(dict.fromkeys(step.undo for step in reversed(self.steps) if step.undo is not None))

    @property
    def makes_machine(self) -> bool:
        """Whether it makes the instance's container. The instance is given a VMID first."""
        return Phase.CLONE_CONTAINER in self.phases

    @property
    def removes_machine(self) -> bool:
        """Whether it deletes the instance's container. It is done, too, when the VMID is somebody else's by now."""
        return Phase.DELETE_CONTAINER in self.phases

    @property
    def disturbs(self) -> bool:
        """Whether it takes a ready server away from its players. If it does not, a failure leaves the server ready."""
        return not {Phase.UNPUBLISH_EDGE, Phase.STOP_CONTAINER}.isdisjoint(self.phases)

    @property
    def configures_agent(self) -> bool:
        """Whether the agent is sent a configuration, and so may report back."""
        return Phase.BUILD_AGENT_PAYLOAD in self.phases

    @property
    def runs_server(self) -> bool:
        """Whether it makes an existing server run. The servers of a customer whose account is stopped must not run."""
        return self.ending is Ending.READY and not self.makes_machine


_GET_READY = (
    Step(Phase.START_CONTAINER, undo=Phase.STOP_CONTAINER),
    Step(Phase.WAIT_FOR_IP),
    Step(Phase.BUILD_AGENT_PAYLOAD),
    Step(Phase.SEND_AGENT_CONFIG),
    Step(Phase.WAIT_FOR_AGENT),
    Step(Phase.PUBLISH_EDGE, undo=Phase.UNPUBLISH_EDGE),
)
"""The steps from a container that does not run to a server that is ready."""
_REMOVE = (Step(Phase.UNPUBLISH_EDGE), Step(Phase.STOP_CONTAINER), Step(Phase.DELETE_CONTAINER))

PROVISION = OperationKind(
    name="provision",
    steps=(
        Step(Phase.ALLOCATE_VMID),
        Step(Phase.CLONE_CONTAINER, undo=Phase.DELETE_CONTAINER),
        Step(Phase.CONFIGURE_CONTAINER),
        *_GET_READY,
    ),
    ending=Ending.READY,
    final_phase=Phase.COMPLETE,
    success="{hostname} is ready",
    busy="the server is still being made: wait until its order has finished, or cancel it",
    begins_in=frozenset({InstanceStatus.QUARANTINED}),
    held_in=InstanceStatus.PROVISIONING,
    cancellable=True,
)
TEARDOWN = OperationKind(
    name="teardown",
    steps=_REMOVE,
    ending=Ending.ARCHIVED,
    final_phase=Phase.ARCHIVE_INSTANCE,
    success="the server is deleted",
    busy="the server is being deleted",
    begins_in=frozenset(InstanceStatus),
    held_in=InstanceStatus.DELETING,
    action=Action.DELETE,
)
START = OperationKind(
    name="start",
    # The address may be new, and a proxy that was restarted has forgotten the server, so all is published again.
    steps=_GET_READY,
    ending=Ending.READY,
    final_phase=Phase.COMPLETE,
    success="{hostname} is ready",
    busy="the server is being started: wait until that has finished, or cancel it",
    begins_in=frozenset({InstanceStatus.READY, InstanceStatus.STOPPING, InstanceStatus.STOPPED}),
    action=Action.START,
    cancellable=True,
)
STOP = OperationKind(
    name="stop",
    steps=(Step(Phase.UNPUBLISH_EDGE), Step(Phase.STOP_CONTAINER)),
    ending=Ending.STOPPED,
    final_phase=Phase.COMPLETE,
    success="the server is stopped",
    busy="the server is being stopped: wait until that has finished",
    begins_in=frozenset({InstanceStatus.READY, InstanceStatus.STOPPING, InstanceStatus.STOPPED}),
    works_in=InstanceStatus.STOPPING,
    action=Action.STOP,
)
CLEANUP = OperationKind(
    name="cleanup",
    steps=_REMOVE,
    ending=Ending.CLEANED,
    final_phase=Phase.COMPLETE,
    success="cleaned up: nothing is left",
    busy="what is left of the server is being cleaned up: wait until that has finished",
    begins_in=frozenset({InstanceStatus.FAILED}),
    asker=Asker.SWEEP,
    book="teardown",
)
"""Tries again to remove what a failed order left behind."""

UNPUBLISH = OperationKind(
    name="unpublish",
    steps=(Step(Phase.UNPUBLISH_EDGE),),
    ending=Ending.UNPUBLISHED,
    final_phase=Phase.COMPLETE,
    success="nothing of the server is published any more",
    busy="what is left of the server at the edge is being removed: wait until that has finished",
    begins_in=frozenset({InstanceStatus.QUARANTINED}),
    asker=Asker.SWEEP,
)
"""Tries again to take a kept machine off the edge."""

KINDS: dict[str, OperationKind] = {kind.name: kind for kind in (PROVISION, TEARDOWN, START, STOP, CLEANUP, UNPUBLISH)}
"""Every kind that this release knows. A row with another kind was written by a newer release and is passed over."""

SWEPT: dict[InstanceStatus, OperationKind] = {
    InstanceStatus.FAILED: CLEANUP,
    InstanceStatus.DELETING: TEARDOWN,
    InstanceStatus.QUARANTINED: UNPUBLISH,
    InstanceStatus.READY: STOP,
    InstanceStatus.STOPPING: STOP,
    InstanceStatus.STOPPED: STOP,
}
"""The kind of operation that a sweep begins for an instance in need of one, by the state of the instance."""
EXPIRED = TEARDOWN
"""The kind of operation that a sweep begins for a machine that was kept long enough."""


def names(kinds: Iterable[OperationKind]) -> list[str]:
    """Return the names of kinds, as a query takes them."""
    return sorted(kind.name for kind in kinds)


def held_in() -> dict[str, InstanceStatus]:
    """Return the state in which an instance is held by kind, for the kinds that hold it in one."""
    return {kind.name: kind.held_in for kind in KINDS.values() if kind.held_in is not None}


def works_in() -> dict[str, InstanceStatus]:
    """Return the state that an instance gets when a worker takes its operation, by kind, for the kinds with one."""
    return {kind.name: kind.works_in for kind in KINDS.values() if kind.works_in is not None}
