"""The phases: what a kind of operation is made of (orchestrator.domain.operations).

A phase is a role, a play, a tag and a value of `Phase`, all derived from one word: `Phase.CLONE_CONTAINER` is the
role `clone_container`, the playbook `phases/clone_container.yml` and the play `clone-container`. All that is known of a
phase stands in its one entry here.
"""

from enum import StrEnum
from typing import Self


class Phase(StrEnum):
    """One step of an operation, as its wire name; then the first line of its log and its time limit.

    Limits are generous: a slow disk is not a failure, a hang is.
    """

    first_line: str
    """What the operation's log says when the phase begins."""
    limit_seconds: int | None
    """How long it may take unless the settings say otherwise. None: it only writes rows, and no role is played."""
    precedes_machine: bool
    """Whether no machine is certain to exist yet when an operation fails in it."""

    def __new__(
        cls, name: str, first_line: str = "", limit_seconds: int | None = None, precedes_machine: bool = False
    ) -> Self:
        phase = str.__new__(cls, name)
        phase._value_ = name
        phase.first_line = first_line
        phase.limit_seconds = limit_seconds
        phase.precedes_machine = precedes_machine
        return phase

    ALLOCATE_VMID = "allocate-vmid", "choosing a VMID", None, True
    CLONE_CONTAINER = "clone-container", "cloning the template", 600, True
    CONFIGURE_CONTAINER = "configure-container", "setting memory, cores and network", 60
    START_CONTAINER = "start-container", "starting the container", 120
    WAIT_FOR_IP = "wait-for-ip", "waiting for an address", 120
    BUILD_AGENT_PAYLOAD = "build-agent-payload", "building the agent's configuration", 30
    SEND_AGENT_CONFIG = "send-agent-config", "sending the configuration to the agent", 60
    WAIT_FOR_AGENT = "wait-for-agent-terminal-state", "the agent installs and starts", 600
    PUBLISH_EDGE = "publish-edge", "publishing DNS and proxy, then joining as a player would", 120
    COMPLETE = "complete", "writing the result"
    UNPUBLISH_EDGE = "unpublish-edge", "removing proxy registration and DNS records", 120
    STOP_CONTAINER = "stop-container", "stopping the container", 120
    DELETE_CONTAINER = "delete-container", "deleting the container", 120
    ARCHIVE_INSTANCE = "archive-instance", "archiving the server"

    @property
    def role(self) -> str:
        """The name of the role, and of its playbook without the ending."""
        return self.value.replace("-", "_")

    @property
    def is_played(self) -> bool:
        """Whether a role does it; the others only write rows."""
        return self.limit_seconds is not None


PLAYED = tuple(phase for phase in Phase if phase.is_played)
"""The phases that are roles."""
