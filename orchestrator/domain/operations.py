"""The kinds of operations: one table, and what follows from it.

A kind is its steps in order, each with what undoes it, and the few facts about it that cannot be derived. Everything
else asks this table: which playbook is played, what a cancel, a lost worker or a failure undoes, what the queries are
told about kinds, what the API answers and the documents show. A new kind is an entry here, a playbook of its name, an
endpoint and a command.
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
    """Nobody outside: a sweep begins it."""


class Ending(StrEnum):
    """What a succeeded operation makes of its instance."""

    READY = "ready"
    STOPPED = "stopped"
    CLEANED = "cleaned"
    """Nothing is left of a failed order; its row stays."""
    ARCHIVED = "archived"
    """The instance leaves the table of the living."""


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
    """In the order in which they are taken."""
    ending: Ending
    final_phase: Phase
    """The phase that writes the result of a success."""
    success: str
    """The last line of the log of a success; {hostname} stands for the server's name."""
    busy: str
    """Why nothing else can be asked of the instance meanwhile: a sentence for whoever asks."""
    begins_in: frozenset[InstanceStatus]
    """The states of an instance for which it can be asked."""
    held_in: InstanceStatus | None = None
    """The state that the instance has from the request to the end; None: it keeps the one it has."""
    action: Action | None = None
    """What the customer's billing state has to allow."""
    asker: Asker = Asker.CUSTOMER
    cancellable: bool = False
    """Whether it can be cancelled, which undoes it. One that waits and was not begun can then also grow too old."""
    deadline_seconds: int = 900
    """How long it may run in all, from its first claim, unless the settings say otherwise."""
    book: str | None = None
    """The playbook that is played, without the ending; None: that of the kind's own name."""

    @property
    def playbook(self) -> str:
        """The name of its playbook, without the ending."""
        return self.book or self.name

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Every phase in order."""
        return (*(step.phase for step in self.steps), self.final_phase)

    @property
    def played(self) -> tuple[Phase, ...]:
        """The phases that are plays of its playbook, in order."""
        return tuple(phase for phase in self.phases if phase.is_played)

    @property
    def undo(self) -> tuple[Phase, ...]:
        """What undoes it, in order: the undoing of each step, the last step's first. Empty: it can only go on."""
        return tuple(dict.fromkeys(step.undo for step in reversed(self.steps) if step.undo is not None))

    @property
    def makes_machine(self) -> bool:
        """Whether it makes the instance's container, on a VMID that it is given first."""
        return Phase.CLONE_CONTAINER in self.phases

    @property
    def removes_machine(self) -> bool:
        """Whether it deletes the instance's container: one that is not ours any more then means that it is done."""
        return Phase.DELETE_CONTAINER in self.phases

    @property
    def disturbs(self) -> bool:
        """Whether it takes a server that runs away from its players; else one that was ready still is when it fails."""
        return not {Phase.UNPUBLISH_EDGE, Phase.STOP_CONTAINER}.isdisjoint(self.phases)

    @property
    def configures_agent(self) -> bool:
        """Whether the agent is told something, and so may report back."""
        return Phase.BUILD_AGENT_PAYLOAD in self.phases

    @property
    def runs_server(self) -> bool:
        """Whether a server that is there runs after it, which a customer whose account is stopped must not have."""
        return self.ending is Ending.READY and not self.makes_machine


_GET_READY = (
    Step(Phase.START_CONTAINER, undo=Phase.STOP_CONTAINER),
    Step(Phase.WAIT_FOR_IP),
    Step(Phase.BUILD_AGENT_PAYLOAD),
    Step(Phase.SEND_AGENT_CONFIG),
    Step(Phase.WAIT_FOR_AGENT),
    Step(Phase.PUBLISH_EDGE, undo=Phase.UNPUBLISH_EDGE),
)
"""From a container that does not run to a server that is ready."""
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
    action=Action.ORDER,
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
    # Not only the container: a new address, or a proxy that was restarted meanwhile, has to be published again.
    steps=_GET_READY,
    ending=Ending.READY,
    final_phase=Phase.COMPLETE,
    success="{hostname} is ready",
    busy="the server is being started: wait until that has finished, or cancel it",
    begins_in=frozenset({InstanceStatus.READY, InstanceStatus.STOPPED}),
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
    begins_in=frozenset({InstanceStatus.READY, InstanceStatus.STOPPED}),
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
"""Once more what the undoing of a failed order could not undo."""

KINDS: dict[str, OperationKind] = {kind.name: kind for kind in (PROVISION, TEARDOWN, START, STOP, CLEANUP)}
"""Every kind that this release knows. A row may have another one, written by a newer release: it is passed over."""

SWEPT: dict[InstanceStatus, OperationKind] = {
    InstanceStatus.FAILED: CLEANUP,
    InstanceStatus.DELETING: TEARDOWN,
    InstanceStatus.QUARANTINED: TEARDOWN,
    InstanceStatus.READY: STOP,
    InstanceStatus.STOPPED: STOP,
}
"""What a sweep begins for an instance that needs something nobody asks for, by the instance's state."""


def names(kinds: Iterable[OperationKind]) -> list[str]:
    """The names of kinds, as a query takes them."""
    return sorted(kind.name for kind in kinds)
