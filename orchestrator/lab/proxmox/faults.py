"""The faults of the lab's Proxmox that fakepve does not have: of requests and of tasks."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any

from aiohttp import web

from orchestrator.lab.errors import InputError
from orchestrator.lab.faults import STATUS, Fault, require, take_first

REQUEST_ERRORS = (None, "hang", "delay", "drop")
"""The values of `error` in a fault of requests; None is one with a `status`."""


class ProxmoxFaults:
    """Faults for requests and for tasks. The oldest one that fits is used."""

    def __init__(self) -> None:
        self._requests: list[Fault] = []
        self._tasks: list[Fault] = []
        self._cleared = asyncio.Event()

    def inject_into_requests(self, fault: Fault) -> None:
        """Raises InputError for a status that is no error."""
        if "error" not in fault:
            require("status", fault.get("status"), STATUS)
        self._requests.append({"message": "injected fault", **fault})

    def inject_into_tasks(self, fault: Fault) -> None:
        """Raises InputError when the kind of task or its message is missing."""
        require_text(fault, "task", "message")
        self._tasks.append(dict(fault))

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

    def clear(self) -> None:
        self._requests.clear()
        self._tasks.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()


def require_text(fault: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if not isinstance(fault.get(name), str):
            raise InputError(name, "is missing from the fault")


def _fits(pattern: str, path: str) -> bool:
    """Whether the path ends as the pattern says, in which `*` is anything; `*` alone fits every path."""
    return fnmatchcase(path, f"*{pattern}") if "*" in pattern else path.endswith(pattern)
