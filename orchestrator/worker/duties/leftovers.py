"""Begins operations that nobody asks for. Instances need one when a cleanup or a deletion left something behind, when a
quarantine is over, and when a server runs although its customer's account is stopped or its start failed.

It only places operations, and never places one for an instance with an active operation.
"""

from collections.abc import Iterator

from orchestrator.settings import Settings
from orchestrator.store import sweep
from orchestrator.store.connection import Database
from orchestrator.worker.duties.duty import Duty


def make(database: Database, settings: Settings) -> Duty:
    """Return the duty."""

    def attend() -> Iterator[str]:
        for operation_id in sweep.attend_leftovers(database):
            yield f"operation {operation_id} was begun by the sweep"

    return Duty("leftovers", settings.sweep_seconds, attend)
