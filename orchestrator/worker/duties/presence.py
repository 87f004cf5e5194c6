"""Records that this worker lives and can work. `/readyz` looks for a worker that was seen lately."""

from orchestrator.settings import Settings
from orchestrator.store import sweep
from orchestrator.store.connection import Database
from orchestrator.worker.duties.duty import Duty
from orchestrator.worker.fitness import Fitness


def make(database: Database, settings: Settings, worker: str, fitness: Fitness) -> Duty:
    """Return the duty."""

    def show() -> list[str]:
        show_it = sweep.worker_seen if fitness.is_fit else sweep.worker_gone
        show_it(database, worker)
        return []

    return Duty("presence", settings.sweep_seconds, show)
