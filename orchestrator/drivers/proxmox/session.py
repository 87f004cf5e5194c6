"""One task's work on Proxmox: requests that change, waiting for tasks, and patience until a deadline.

A verb is a loop: read the state; if it is as wanted, return; else send one request and wait for its task; on
a passing error `pause` and read again. So nothing is repeated blindly, and a lost answer does no harm.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.drivers import lease
from orchestrator.drivers.proxmox.client import (
    REQUEST_TIMEOUT,
    Endpoint,
    Gone,
    Kind,
    Present,
    Proxmox,
    ProxmoxError,
    Reading,
    Status,
    T,
    Unknown,
    attempt,
    classify,
)
from orchestrator.drivers.proxmox.failures import explain
from orchestrator.drivers.proxmox.ownership import instance_tag, require_ours
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets

CONNECTION: Mapping[str, Any] = {
    "type": "dict",
    "required": True,
    "options": {
        "host": {"type": "str", "required": True},
        "port": {"type": "int", "default": 8006},
        "node": {"type": "str", "required": True},
        "user": {"type": "str", "required": True},
        "token_name": {"type": "str", "required": True},
        "ca_file": {"type": "str"},
        "secret": {"type": "str", "default": "proxmox_token"},
    },
}
"""The argument `proxmox` of every task: where to ask, and the name of the secret with the token's value."""

COMMON: Mapping[str, Any] = {
    "proxmox": CONNECTION,
    "vmid": {"type": "int", "required": True},
    "timeout": {"type": "int", "required": True},
}

LOG_LINES, LOG_LINES_READ = 5, 1000
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

    # -- reading ---------------------------------------------------------------------------------------------

    def config(self, vmid: int | None = None) -> dict[str, Any] | None:
        """None when it is certain that the container does not exist."""
        wanted = self.vmid if vmid is None else vmid
        return self._certain(lambda: self.proxmox.config(wanted))

    def owned_config(self, server_id: str) -> dict[str, Any] | None:
        config = self.config()
        if config is not None:
            require_ours(config, self.vmid, server_id)
        return config

    def status(self) -> Status | None:
        return self._certain(lambda: self.proxmox.status(self.vmid))

    def owned_status(self, server_id: str) -> Status | None:
        status = self.status()
        if status is None or instance_tag(server_id) in status.tags:
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
                    return value
                case Gone():
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
            answer = attempt(lambda: getattr(resource, method)(**parameters))
        except ProxmoxError as error:
            self.sent = self.sent or error.kind is Kind.UNREACHABLE
            raise
        self.sent = True
        return answer

    def finish(self, upid: str) -> None:
        """Waits for a task. Raises ProxmoxError with the task's own exitstatus and its last words."""
        outcome = self.ended(upid)
        if outcome != "OK" and not outcome.startswith("WARNINGS"):
            detail = {"upid": upid, "exitstatus": outcome, "log": self._last_words(upid)}
            raise ProxmoxError(classify(500, outcome), outcome, detail=detail)

    def ended(self, upid: str) -> str:
        """Waits until a task has ended, however it ends; its exitstatus."""
        self.upid = upid
        since = time.monotonic()
        while (state := self._task(upid)).get("status") != "stopped":
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
                return dict(self.proxmox.get(f"tasks/{upid}/status"))
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
        """Waits a little after a passing error; a lasting one, or the deadline, ends the phase."""
        delay = min(0.1 * 1.5**self._pauses, 1.0) * random.uniform(0.5, 1.5)  # noqa: S311 - only spreads requests
        if not error.passing or delay > self.left:
            raise self.failed(error, subject)
        self._pauses += 1
        time.sleep(delay)

    def failed(self, error: ProxmoxError, subject: str | None = None) -> PhaseError:
        failure = explain(error, subject or f"container {self.vmid}", self.endpoint, self.waited)
        failure.changed = self.sent
        return failure

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
        return {"changed": self.sent, "vmid": self.vmid, "progress": progress, **upid, **more}


@contextmanager
def open_session(
    args: Mapping[str, Any], secrets: Secrets, request_timeout: float = REQUEST_TIMEOUT
) -> Iterator[Session]:
    """The session that a task's checked arguments ask for; `request_timeout` in seconds."""
    where = args["proxmox"]
    endpoint = Endpoint(
        host=where["host"],
        port=where["port"],
        node=where["node"],
        user=where["user"],
        token_name=where["token_name"],
        ca_file=where.get("ca_file"),
        timeout=request_timeout,
    )
    session = Session(endpoint, secrets.get(where["secret"]), args["vmid"], args["timeout"], args.get("waited", 0.0))
    try:
        yield session
    finally:
        session.proxmox.close()
