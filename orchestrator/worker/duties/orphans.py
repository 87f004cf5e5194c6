"""Removes the run directories that dead workers left on this machine, and the processes that still run for them."""

from orchestrator.play import run_directory
from orchestrator.settings import Settings
from orchestrator.worker.duties.duty import Duty


def make(settings: Settings) -> Duty:
    """Return the duty."""

    def remove() -> list[str]:
        run_directory.remove_orphans()
        return []

    return Duty("orphans", settings.sweep_seconds, remove)
