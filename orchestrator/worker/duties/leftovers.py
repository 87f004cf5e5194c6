"""Begins an operation for instances that need something nobody asks for: what a cleanup or a deletion left behind, a
quarantine that is over, a server that runs although its customer's account is stopped or its start failed.

It only places operations, one for each instance, and never while another one is active.
"""

from collections.abc import Iterator

from orchestrator.settings import Settings
from orchestrator.store import sweep
from orchestrator.store.connection import Database
from orchestrator.worker.duties.duty import Duty


def make(database: Database, settings: Settings) -> Duty:
    """The duty."""

    def attend() -> Iterator[str]:
        for operation_id in sweep.attend_leftovers(database):
            yield f"operation {operation_id} was begun by the sweep"

    return Duty("leftovers", settings.sweep_seconds, attend)
