"""The variables that a run gets: the identity of an instance, what was ordered, and what is published."""

from dataclasses import dataclass
from typing import Any

from orchestrator.domain.cleanup import find_published
from orchestrator.domain.models import Failure, OperationRow
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
    record_is_whole: bool = True
    """Whether that is all. What an earlier release published may not be recorded yet."""
    clone_upid: str | None = None
    """The UPID of its clone. A clone that still runs is aborted when the container is deleted."""
    callback_url: str | None = None
    """The URL at which the instance may report, once."""

    @property
    def published(self) -> Failure | None:
        """Why it cannot be forgotten yet. None when nothing of it is published."""
        return find_published(self.hostname, self.publications, whole=self.record_is_whole)

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
