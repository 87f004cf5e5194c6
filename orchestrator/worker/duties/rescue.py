"""Rescues operations whose worker was lost. After the first loss another worker resumes them, after the second they
are undone.

It never takes an operation whose lease still holds, however silent its worker is.
"""

from collections.abc import Iterator

from orchestrator.settings import Settings
from orchestrator.store import sweep
from orchestrator.store.connection import Database
from orchestrator.worker.duties.duty import Duty


def make(database: Database, settings: Settings) -> Duty:
    """Return the duty."""

    def rescue() -> Iterator[str]:
        for operation_id in sweep.rescue_lost(database, attend_seconds=settings.cleanup_retry_seconds):
            yield f"operation {operation_id} had lost its worker"

    return Duty("rescue", settings.sweep_seconds, rescue)
