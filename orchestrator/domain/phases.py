"""The phases of an operation, and which phases make up which kind of operation.

A phase is a role, a play, a tag and a value of `Phase`, all derived from one word: `Phase.CLONE_CONTAINER` is the role
`clone_container`, the playbook `phases/clone_container.yml` and the play `clone-container`.
"""

from enum import StrEnum


class Phase(StrEnum):
    """One step of an operation, as its wire name."""

    ALLOCATE_VMID = "allocate-vmid"
    CLONE_CONTAINER = "clone-container"
    CONFIGURE_CONTAINER = "configure-container"
    START_CONTAINER = "start-container"
    WAIT_FOR_IP = "wait-for-ip"
    BUILD_AGENT_PAYLOAD = "build-agent-payload"
    SEND_AGENT_CONFIG = "send-agent-config"
    WAIT_FOR_AGENT = "wait-for-agent-terminal-state"
    PUBLISH_EDGE = "publish-edge"
    COMPLETE = "complete"
    UNPUBLISH_EDGE = "unpublish-edge"
    STOP_CONTAINER = "stop-container"
    DELETE_CONTAINER = "delete-container"
    ARCHIVE_INSTANCE = "archive-instance"

    @property
    def role(self) -> str:
        """The name of the role, and of its playbook without the ending."""
        return self.value.replace("-", "_")


LEDGER = frozenset({Phase.ALLOCATE_VMID, Phase.COMPLETE, Phase.ARCHIVE_INSTANCE})
"""Phases that only write rows; all others are roles."""


class Kind(StrEnum):
    """What an operation does."""

    PROVISION = "provision"
    TEARDOWN = "teardown"
    START = "start"
    STOP = "stop"
    CLEANUP = "cleanup"
    """Once more what the cleanup of a failed provision could not undo."""


_TO_READY = (
    Phase.START_CONTAINER,
    Phase.WAIT_FOR_IP,
    Phase.BUILD_AGENT_PAYLOAD,
    Phase.SEND_AGENT_CONFIG,
    Phase.WAIT_FOR_AGENT,
    Phase.PUBLISH_EDGE,
    Phase.COMPLETE,
)
"""From a container that does not run to a server that is ready."""

PHASES: dict[Kind, tuple[Phase, ...]] = {
    Kind.PROVISION: (
        Phase.ALLOCATE_VMID,
        Phase.CLONE_CONTAINER,
        Phase.CONFIGURE_CONTAINER,
        *_TO_READY,
    ),
    Kind.TEARDOWN: (
        Phase.UNPUBLISH_EDGE,
        Phase.STOP_CONTAINER,
        Phase.DELETE_CONTAINER,
        Phase.ARCHIVE_INSTANCE,
    ),
    # Not only the container: a new address, or a proxy that was restarted meanwhile, has to be published again.
    Kind.START: _TO_READY,
    Kind.STOP: (Phase.UNPUBLISH_EDGE, Phase.STOP_CONTAINER, Phase.COMPLETE),
    Kind.CLEANUP: (Phase.UNPUBLISH_EDGE, Phase.STOP_CONTAINER, Phase.DELETE_CONTAINER, Phase.COMPLETE),
}
"""The phases of each kind, in order."""

UNDO: dict[Kind, tuple[Phase, ...]] = {
    Kind.PROVISION: (Phase.UNPUBLISH_EDGE, Phase.STOP_CONTAINER, Phase.DELETE_CONTAINER),
    Kind.START: (Phase.UNPUBLISH_EDGE, Phase.STOP_CONTAINER),
}
"""What undoes a kind that failed or was cancelled, in order; the others have nothing to undo and only go on."""


def played(kind: Kind) -> tuple[Phase, ...]:
    """The phases of a kind that are plays, in order."""
    return tuple(phase for phase in PHASES[kind] if phase not in LEDGER)
