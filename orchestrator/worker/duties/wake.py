"""Wakes workers for operations that wait although no message for them is left in the queue."""

from collections.abc import Iterator

from orchestrator.settings import Settings
from orchestrator.store import sweep
from orchestrator.store.connection import Database
from orchestrator.store.passed_over import PassedOver
from orchestrator.worker.duties.duty import Duty


def make(database: Database, settings: Settings, passed_over: PassedOver) -> Duty:
    """Return the duty."""

    def wake() -> Iterator[str]:
        forgotten = sweep.wake_forgotten(
            database,
            requeue_seconds=settings.requeue_seconds,
            concurrency=settings.concurrency,
            passed_over=passed_over,
        )
        for operation_id in forgotten:
            yield f"operation {operation_id} was woken again"

    return Duty("wake", settings.sweep_seconds, wake)
