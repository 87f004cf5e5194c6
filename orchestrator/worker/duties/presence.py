"""Records that this worker lives. `/readyz` looks for a worker that was seen lately."""

from orchestrator.settings import Settings
from orchestrator.store import sweep
from orchestrator.store.connection import Database
from orchestrator.worker.duties.duty import Duty


def make(database: Database, settings: Settings, worker: str) -> Duty:
    """Return the duty."""

    def show() -> list[str]:
        sweep.worker_seen(database, worker)
        return []

    return Duty("presence", settings.sweep_seconds, show)
