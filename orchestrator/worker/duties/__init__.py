"""What a worker does beside its operations: each duty a module of its own, which `duty` runs and counts."""

from orchestrator.settings import Settings
from orchestrator.store.connection import Database
from orchestrator.worker.duties import expire, leftovers, orphans, presence, rescue, wake
from orchestrator.worker.duties.duty import Duty


def all_duties(database: Database, settings: Settings, worker: str) -> list[Duty]:
    """Every duty of a worker of this name."""
    return [
        presence.make(database, settings, worker),
        rescue.make(database, settings),
        expire.make(database, settings),
        leftovers.make(database, settings),
        wake.make(database, settings),
        orphans.make(settings),
    ]
