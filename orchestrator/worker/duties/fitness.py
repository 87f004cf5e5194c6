"""Tests a worker that could not work again and again, until it can.

It never plays anything while the worker is fit, and changes nothing outside.
"""

from orchestrator.worker.duties.duty import Duty
from orchestrator.worker.fitness import Fitness

_INTERVAL_SECONDS = 10.0


def make(fitness: Fitness) -> Duty:
    """Return the duty."""
    return Duty("fitness", _INTERVAL_SECONDS, fitness.restore)
