"""Wakes workers for operations that wait although no message is left to wake one."""

from collections.abc import Iterator

from orchestrator.settings import Settings
from orchestrator.store import sweep
from orchestrator.store.connection import Database
from orchestrator.worker.duties.duty import Duty


def make(database: Database, settings: Settings) -> Duty:
    """The duty."""

    def wake() -> Iterator[str]:
        forgotten = sweep.wake_forgotten(
            database, requeue_seconds=settings.requeue_seconds, concurrency=settings.concurrency
        )
        for operation_id in forgotten:
            yield f"operation {operation_id} was woken again"

    return Duty("wake", settings.sweep_seconds, wake)
