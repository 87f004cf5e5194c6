"""What the roles are told of an instance: its identity and what was ordered."""

from dataclasses import dataclass
from typing import Any

from orchestrator.domain.models import OperationRow
from orchestrator.domain.phases import Kind, played
from orchestrator.play import runner
from orchestrator.settings import Settings


@dataclass(frozen=True)
class Server:
    """An instance as the roles see it."""

    operation: OperationRow
    vmid: int
    hostname: str
    published: bool = False
    """Whether its names at the edge are known to be its own: else the container has to prove it (unpublish-edge)."""
    clone_upid: str | None = None
    """Proxmox's task of its clone, to be aborted if it still runs when the container is deleted."""
    callback_url: str | None = None
    """Where the instance may report to, once."""

    def variables(self, settings: Settings) -> dict[str, Any]:
        """The extra variables of a run; what a customer wrote is marked unsafe, so that it is never a template."""
        timeouts = {f"{phase.role}_timeout": settings.timeout(phase) for kind in Kind for phase in played(kind)}
        ordered: dict[str, Any] = runner.unsafe(self.operation.spec)
        return (
            timeouts
            | ordered
            | {
                "vmid": self.vmid,
                "hostname": self.hostname,
                "server_id": str(self.operation.instance_id),
                "operation_id": str(self.operation.id),
                "published": self.published,
                "clone_upid": self.clone_upid or "",
                "callback_url": self.callback_url or "",
            }
        )


def server_of(operation: OperationRow, *, published: bool = False, clone_upid: str | None = None) -> Server | None:
    """The server of an operation, or None when it has no VMID yet."""
    if operation.vmid is None or operation.hostname is None:
        return None
    return Server(operation, operation.vmid, operation.hostname, published, clone_upid)
