"""What the roles are told of an instance: its identity, what was ordered, and what is published of it."""

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
    """What is to be taken back when it is unpublished."""
    clone_upid: str | None = None
    """Proxmox's task of its clone, to be aborted if it still runs when the container is deleted."""
    callback_url: str | None = None
    """Where the instance may report to, once."""

    def variables(self, settings: Settings) -> dict[str, Any]:
        """The extra variables of a run. What a customer wrote is marked unsafe, so that it is never a template."""
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
