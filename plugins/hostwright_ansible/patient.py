"""A task whose provider or proxy may want to be left alone: it says so, waits, and begins anew.

The role repeats it with `until: result.done`. Each try is an object of its own, all in the one process of the task.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction
from orchestrator.domain.errors import PAUSE, WAITING
from orchestrator.drivers.result import LaterError, waiting
from orchestrator.drivers.secrets import Secrets

QUIET = 1.0
"""Seconds of waiting that nobody needs to be told of."""


@dataclass
class _Tries:
    """What one task's tries have in common. Times are of time.monotonic()."""

    begun: float = field(default_factory=time.monotonic)
    resume: float = 0.0
    changed: bool = False


class PatientAction(PhaseAction):
    """Its argument `limit` is how many seconds after its first try a task may still begin another."""

    _tries: ClassVar[dict[str, _Tries]] = {}

    @abstractmethod
    def attempt(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        """One try, which begins by reading. What raises LaterError is tried again."""

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        tries = self._tries.setdefault(self._task._uuid, _Tries())
        time.sleep(max(tries.resume - time.monotonic(), 0))
        try:
            result = self.attempt(args, secrets, check=check)
        except LaterError as later:
            return self._come_back(later, tries, args["limit"])
        changed = tries.changed or result["changed"]
        return {"done": True, **result, "changed": changed, "seconds": time.monotonic() - tries.begun}

    def _come_back(self, later: LaterError, tries: _Tries, limit: float) -> dict[str, Any]:
        """The result of a try that is not the last; raises the error of one that is."""
        later.changed = tries.changed = tries.changed or later.changed
        if not later.asked:
            raise later
        if later.at >= tries.begun + limit:
            later.message += ", which is longer than this phase may wait"
            later.detail[PAUSE] = math.ceil(later.at - time.monotonic())
            raise later
        tries.resume = later.at
        result = waiting(later.code, later.message, progress=later.message)
        return result | later.more | {"notice": f"{WAITING}{later.message}"}
