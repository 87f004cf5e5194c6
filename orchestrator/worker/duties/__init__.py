"""The duties of a worker beside its operations. Each duty is a module; the module `duty` performs and counts them."""

from orchestrator.domain.catalogue import Catalogue
from orchestrator.settings import Settings
from orchestrator.store.connection import Database
from orchestrator.store.passed_over import PassedOver
from orchestrator.worker.duties import expire, leftovers, orphans, presence, record, rescue, wake
from orchestrator.worker.duties import fitness as doubt
from orchestrator.worker.duties.duty import Duty
from orchestrator.worker.fitness import Fitness


def all_duties(
    database: Database,
    settings: Settings,
    catalogue: Catalogue,
    worker: str,
    passed_over: PassedOver,
    fitness: Fitness,
) -> list[Duty]:
    """Return every duty of the worker with this name, in the order in which a starting worker performs them."""
    return [
        record.make(database, settings, catalogue),
        presence.make(database, settings, worker, fitness),
        rescue.make(database, settings),
        expire.make(database, settings),
        leftovers.make(database, settings),
        wake.make(database, settings, passed_over),
        orphans.make(settings),
        doubt.make(fitness),
    ]
