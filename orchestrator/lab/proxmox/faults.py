"""The faults of the lab's Proxmox that fakepve does not have: of requests, of tasks, and of the node as a whole."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any

from aiohttp import web

from orchestrator.lab.errors import InputError
from orchestrator.lab.faults import SECONDS, STATUS, Fault, find_unmet, require, take_first

REQUEST_ERRORS = (None, "hang", "delay", "drop", "cut")
"""The values of `error` in a fault of requests; None is one with a `status`."""
TASK_ERRORS = ("task", "late")
"""The values of `error` in a fault of tasks."""
CONDITIONS = ("unmarked", "full", "case-sensitive-tags")
"""The values of `error` in a fault of the node as a whole."""
WARNINGS = "WARNINGS"
"""How the message of a task begins that has done its work all the same."""


class ProxmoxFaults:
    """Faults for requests and for tasks. The oldest one that fits is used."""

    def __init__(self) -> None:
        self._requests: list[Fault] = []
        self._tasks: list[Fault] = []
        self._conditions: list[Fault] = []
        self._cleared = asyncio.Event()

    def inject_into_requests(self, fault: Fault) -> None:
        """Raises InputError for a status that is no error."""
        if "error" not in fault:
            require("status", fault.get("status"), STATUS)
        self._requests.append({"message": "injected fault", **fault})

    def inject_into_tasks(self, fault: Fault) -> None:
        """Raises InputError when the kind of task, its message or its delay is missing, or for a clone that is late."""
        if fault["error"] == "task":
            require_text(fault, "task", "message")
        else:
            require_text(fault, "task")
            require("seconds", fault.get("seconds"), SECONDS)
            if fault["task"] == "vzclone":
                raise InputError("task", "a clone is never late: Proxmox locks its target until it is complete")
        self._tasks.append(dict(fault))

    def inject_condition(self, fault: Fault) -> None:
        """Raises InputError when the seconds of an unmarked clone are missing."""
        if fault["error"] == "unmarked":
            require("seconds", fault.get("seconds"), SECONDS)
        self._conditions.append(dict(fault))

    def find(self, condition: str) -> Fault | None:
        """The condition of this name, if the node is in it."""
        fault = next((fault for fault in self._conditions if fault["error"] == condition), None)
        if fault is not None:
            fault["met"] = True
        return fault

    def take(self, condition: str) -> Fault | None:
        """The same, counted as used once."""
        return take_first(self._conditions, lambda fault: fault["error"] == condition)

    def take_for_request(self, request: web.Request) -> Fault:
        """The fault for this request, empty when there is none."""
        fault = take_first(
            self._requests,
            lambda fault: (
                fault.get("method", request.method) == request.method and _fits(fault.get("path", "*"), request.path)
            ),
        )
        return fault or {}

    def take_for_task(self, kind: str) -> Fault | None:
        """The fault for a task of this kind, such as vzclone."""
        return take_first(self._tasks, lambda fault: fault["task"] == kind)

    async def delay(self, seconds: float) -> None:
        """Hold a request back so long, or until the faults are cleared."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._cleared.wait(), seconds)

    def unmet(self) -> list[Fault]:
        """The faults that no request, task or look at the node has met."""
        return find_unmet([*self._requests, *self._tasks, *self._conditions])

    def clear(self) -> None:
        self._requests.clear()
        self._tasks.clear()
        self._conditions.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()


def require_text(fault: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if not isinstance(fault.get(name), str):
            raise InputError(name, "is missing from the fault")


def _fits(pattern: str, path: str) -> bool:
    """Whether the path ends as the pattern says, in which `*` is anything; `*` alone fits every path."""
    return fnmatchcase(path, f"*{pattern}") if "*" in pattern else path.endswith(pattern)
