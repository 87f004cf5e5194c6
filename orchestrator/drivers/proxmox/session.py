"""One task's work on Proxmox: requests that change, waiting for tasks, and patience until a deadline.

A verb is a loop: read the state; if it is as wanted, return; else send one request and wait for its task; on
any error that is not known to last `pause` and read again. So nothing is repeated blindly, and a lost answer does no
harm.
A task's OK is not the state either: the verb goes on reading until the state is there.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.drivers import lease
from orchestrator.drivers.proxmox import proof
from orchestrator.drivers.proxmox.answers import RULES, Kind, Next, Verb, classify, is_well
from orchestrator.drivers.proxmox.client import (
    Endpoint,
    Gone,
    Present,
    Proxmox,
    ProxmoxError,
    Reading,
    Status,
    T,
    Unknown,
    attempt,
)
from orchestrator.drivers.proxmox.failures import explain
from orchestrator.drivers.proxmox.ownership import is_being_written, names_instance, require_ours
from orchestrator.drivers.result import PhaseError

LOG_LINES, LOG_LINES_READ = 5, 1000
LONGEST_PAUSE = 2.0
"""Seconds, before chance spreads them."""
TOKEN_PATIENCE = 60.0
"""Seconds for which a token that has worked may be refused, as happens while the cluster's file system is away."""
UNKNOWN_TASK = 400
"""The HTTP status for a UPID that Proxmox has no task for."""
# One segment of a path, whoever wrote it.
_UPID = re.compile(r"UPID:[\w.-]+(?::[0-9A-Fa-f]+){3}:\w+:[^/:?#\s]*:[^/:?#\s]+:")


class Session:
    """One container, one deadline. `sent` says whether a change was, or may have been, accepted."""

    def __init__(self, endpoint: Endpoint, token: str, vmid: int, timeout: float, waited: float = 0.0) -> None:
        """`waited`: seconds of `timeout` that a task before has used."""
        self.endpoint = endpoint
        self.proxmox = Proxmox(endpoint, token)
        self.vmid = vmid
        self.sent = False
        self.upid: str | None = None
        self.timeout = timeout
        self._started = time.monotonic() - waited
        self._pauses = 0
        self._troubles = 0
        self._token = token
        self._refused_since: float | None = None

    # -- reading ---------------------------------------------------------------------------------------------

    def config(self, vmid: int | None = None) -> dict[str, Any] | None:
        """None when it is certain that the container does not exist."""
        wanted = self.vmid if vmid is None else vmid
        return self._certain(lambda: self.proxmox.config(wanted))

    def marked_config(self) -> dict[str, Any] | None:
        """The configuration, once it says whose the container is."""
        while (config := self.config()) is not None and is_being_written(config):
            self.pause(ProxmoxError(Kind.LOCKED, "CT is locked (create)"))
        return config

    def owned_config(self, server_id: str) -> dict[str, Any] | None:
        config = self.marked_config()
        if config is not None:
            require_ours(config, self.vmid, server_id)
        return config

    def status(self) -> Status | None:
        return self._certain(lambda: self.proxmox.status(self.vmid))

    def owned_status(self, server_id: str) -> Status | None:
        status = self.status()
        if status is None or names_instance(status.tags, server_id):
            return status
        # Not tagged yet, or not ours: the description tells.
        return None if self.owned_config(server_id) is None else status

    def require_gone(self) -> None:
        """To be asked when the node misses the container: it may have moved, and is then not gone.

        Raises PhaseError `proxmox-task-failed`: whose it is cannot be told from here, so nothing may be forgotten.
        """
        if self._certain(lambda: self.proxmox.in_use(self.vmid)):
            raise PhaseError(
                Code.PROXMOX_TASK_FAILED,
                f"container {self.vmid} is not on node {self.endpoint.node}, but the VMID exists on another node or "
                f"belongs to a virtual machine, and was not touched: find it with pvesh get /cluster/resources "
                f"--type vm, and migrate it back if it is ours",
                changed=self.sent,
            )

    def _certain(self, read: Callable[[], Reading[T]]) -> T | None:
        while True:
            match read():
                case Present(value):
                    self._note_that_the_token_works()
                    return value
                case Gone():
                    self._note_that_the_token_works()
                    return None
                case Unknown(error):
                    self.pause(error)

    # -- changing --------------------------------------------------------------------------------------------

    def send(self, method: str, path: str, **parameters: Any) -> Any:
        """One changing request, never repeated here. Raises ProxmoxError."""
        resource = self.proxmox.api(f"nodes/{self.proxmox.node}/{path}")
        lease.require()
        try:
            # proxmoxer puts the parameters of DELETE into the query, where Proxmox wants them.
            answer = attempt(lambda: getattr(resource, method)(**parameters), Verb.CHANGE)
        except ProxmoxError as error:
            self.sent = self.sent or error.kind in (Kind.UNREACHABLE, Kind.UNKNOWN)
            raise
        self.sent = True
        self._note_that_the_token_works()
        return answer

    def finish(self, upid: str) -> None:
        """Waits for a task. Raises ProxmoxError with the task's own exitstatus and its last words."""
        outcome = self.ended(upid)
        if not is_well(outcome):
            detail = {"upid": upid, "exitstatus": outcome, "log": self._last_words(upid)}
            raise ProxmoxError(classify(500, outcome, Verb.TASK), outcome, detail=detail, verb=Verb.TASK)

    def ended(self, upid: str) -> str:
        """Waits until a task has ended, however it ends; its exitstatus."""
        self.upid = upid
        since = time.monotonic()
        while (state := self.task(upid)) is None or state.get("status") != "stopped":
            if state is None:
                return "no such task"
            if self.left <= 0:
                raise self._overdue(upid)
            # Short tasks are noticed at once, long ones cost few requests.
            time.sleep(min(max(0.05, 0.15 * (time.monotonic() - since)), 1.0))
        return str(state.get("exitstatus", ""))

    def task(self, upid: str) -> dict[str, Any] | None:
        """What Proxmox knows about a task; None for one that it does not know."""
        if not _UPID.fullmatch(upid):
            return None
        try:
            return self._task(upid)
        except PhaseError as error:
            if error.detail.get("http_status") == UNKNOWN_TASK:
                return None
            raise

    def _task(self, upid: str) -> dict[str, Any]:
        while True:
            try:
                state = dict(self.proxmox.get(f"tasks/{upid}/status"))
                self._note_that_the_token_works()
                return state
            except ProxmoxError as error:
                self.pause(error)

    def _last_words(self, upid: str) -> list[str]:
        try:
            lines = self.proxmox.get(f"tasks/{upid}/log", limit=LOG_LINES_READ) or []
        except ProxmoxError:
            return []  # the exitstatus says enough
        return [str(line.get("t", "")) for line in lines][-LOG_LINES:]

    # -- patience --------------------------------------------------------------------------------------------

    @property
    def waited(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.timeout - self.waited

    def pause(self, error: ProxmoxError, subject: str | None = None) -> None:
        """Waits a little before another look; an error that is known to last, or the deadline, ends the phase."""
        if self.is_lasting(error) or not self.rest():
            raise self.failed(error, subject)
        self._troubles += error.kind is not Kind.LOCKED

    def rest(self) -> bool:
        """Waits a little, each time longer; False when the deadline is too near for that."""
        delay = min(0.1 * 1.5 ** min(self._pauses, 20), LONGEST_PAUSE) * random.uniform(0.5, 1.5)  # noqa: S311 - only spreads requests
        if delay > self.left:
            return False
        self._pauses += 1
        time.sleep(delay)
        return True

    def is_lasting(self, error: ProxmoxError) -> bool:
        """Whether another look cannot help."""
        follows = RULES[error.kind][error.verb]
        if follows is not Next.WHILE:
            return follows is Next.END
        self._refused_since = self._refused_since or time.monotonic()
        patient = time.monotonic() - self._refused_since < TOKEN_PATIENCE
        return not (patient and proof.has_worked(self.endpoint.asker, self._token))

    def _note_that_the_token_works(self) -> None:
        self._refused_since = None
        proof.note_that_it_works(self.endpoint.asker, self._token)

    def failed(self, error: ProxmoxError, subject: str | None = None) -> PhaseError:
        failure = explain(error, subject or f"container {self.vmid}", self.endpoint, self.waited)
        failure.changed = self.sent
        return failure

    def late(self, wanted: str, seen: str) -> PhaseError:
        """The failure when Proxmox has said that all is done, and it is not by the deadline."""
        return PhaseError(
            Code.DEADLINE_EXCEEDED,
            f"Proxmox says that its task for container {self.vmid} went well, but the container is {seen} and not "
            f"{wanted} after {round(self.waited)} s: see what else acts on it on node {self.endpoint.node}, such as "
            f"the HA manager",
            changed=True,
            upid=self.upid,
        )

    def _overdue(self, upid: str) -> PhaseError:
        return PhaseError(
            Code.DEADLINE_EXCEEDED,
            f"the Proxmox task for container {self.vmid} was not through after {self.timeout} s: "
            f"see pvenode task log {upid}, or give the phase more time",
            changed=True,
            upid=upid,
        )

    def result(self, progress: str, **more: Any) -> dict[str, Any]:
        """The result of a verb that ended well."""
        upid = {"upid": self.upid} if self.upid else {}
        if self._troubles:
            progress = f"{progress}, after Proxmox was asked {self._troubles} times more"
        return {"changed": self.sent, "vmid": self.vmid, "progress": progress, **upid, **more}
