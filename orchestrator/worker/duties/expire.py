"""Ends orders that no worker took in time, and waiting starts of customers whose account was stopped.

It never touches an operation that a worker has begun.
"""

from collections.abc import Iterator

from orchestrator.settings import Settings
from orchestrator.store import sweep
from orchestrator.store.connection import Database
from orchestrator.worker.duties.duty import Duty


def make(database: Database, settings: Settings) -> Duty:
    """Return the duty."""

    def expire() -> Iterator[str]:
        overdue = sweep.expire_overdue(
            database,
            queue_seconds=settings.queue_deadline_seconds,
            quarantine_seconds=settings.quarantine_seconds,
        )
        for operation_id in overdue:
            yield f"operation {operation_id} waited too long for a worker"
        for operation_id in sweep.cancel_unwanted(database):
            yield f"operation {operation_id} is not wanted any more: the account is stopped"

    return Duty("expire", settings.sweep_seconds, expire)
