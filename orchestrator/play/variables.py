"""The variables that a run gets: the identity of an instance, what was ordered, and what is published."""

from dataclasses import dataclass
from typing import Any

from orchestrator.domain.models import OperationRow
from orchestrator.domain.phases import PLAYED
from orchestrator.domain.publications import Publication
from orchestrator.play.runner import unsafe
from orchestrator.settings import Settings


@dataclass(frozen=True)
class Server:
    """An instance as the roles see it."""

    operation: OperationRow
    vmid: int
    hostname: str
    publications: tuple[Publication, ...] = ()
    """What is published of it, and so taken back when it is unpublished."""
    clone_upid: str | None = None
    """The UPID of its clone. A clone that still runs is aborted when the container is deleted."""
    callback_url: str | None = None
    """The URL at which the instance may report, once."""

    def variables(self, settings: Settings) -> dict[str, Any]:
        """Return the extra variables of a run. What a customer wrote is marked unsafe, so it is never a template."""
        timeouts = {f"{phase.role}_timeout": settings.timeout(phase) for phase in PLAYED}
        ordered: dict[str, Any] = unsafe(self.operation.spec)
        return (
            timeouts
            | ordered
            | {
                "vmid": self.vmid,
                "hostname": self.hostname,
                "server_id": str(self.operation.instance_id),
                "operation_id": str(self.operation.id),
                "publications": unsafe([publication.as_dict() for publication in self.publications]),
                "clone_upid": self.clone_upid or "",
                "callback_url": self.callback_url or "",
            }
        )
