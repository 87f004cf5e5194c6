"""The phases of which the kinds of operations are made (orchestrator.domain.operations).

A phase is a role, a play, a tag and a value of `Phase`, all derived from one word: `Phase.CLONE_CONTAINER` is the role
`clone_container`, the playbook `phases/clone_container.yml` and the play `clone-container`. The phase's entry here
holds all that is known of it.
"""

from enum import StrEnum
from typing import Self


class Phase(StrEnum):
    """One step of an operation, by the name that the API shows.

    The time limits are generous, because a slow disk is no failure, but a step that hangs is one.
    """

    first_line: str
    """The line that the operation's log gets when the phase begins."""
    limit_seconds: int | None
    """How long it may take. A setting can replace this. It is None for a phase without a role, which writes rows."""
    precedes_machine: bool
    """Whether it is uncertain that a machine exists when an operation fails in this phase."""

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
        """The name of the role, and of its playbook without `.yml`."""
        return self.value.replace("-", "_")

    @property
    def is_played(self) -> bool:
        """Whether the phase is a role. The other phases only write rows."""
        return self.limit_seconds is not None


PLAYED = tuple(phase for phase in Phase if phase.is_played)
"""The phases that are roles."""
