"""Reading Proxmox VE: three-valued answers, and every error with its kind.

Only reads live here; what changes Proxmox is done by the roles. Imports are light because the Ansible plugins
use this module too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import requests
from proxmoxer import ProxmoxAPI
from proxmoxer.backends import https as _https  # noqa: F401 - proxmoxer imports it late, in every forked task anew
from proxmoxer.core import ResourceException

from orchestrator.domain.errors import Code
from orchestrator.drivers.httpjson import UNTRUSTED
from orchestrator.drivers.proxmox.answers import CODES, Kind, Verb, classify

T = TypeVar("T")

# Seconds. Proxmox waits up to 10 s for a lock and answers 596 after 30 s when its daemon hangs.
REQUEST_TIMEOUT = 35.0


_PRIVILEGE = re.compile(r"permission check failed \(([^)]*)\)", re.IGNORECASE)


@dataclass(eq=False)
class ProxmoxError(Exception):
    """A request or a task that did not end well. `status` is None when there was no HTTP answer."""

    kind: Kind
    text: str
    status: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    verb: Verb = Verb.READ

    def __str__(self) -> str:
        return self.text

    @property
    def code(self) -> Code:
        return CODES[self.kind]

    @property
    def privilege(self) -> str | None:
        """The path and privilege that Proxmox named when it denied, such as `/vms/100, VM.PowerMgmt`."""
        found = _PRIVILEGE.search(self.text)
        return found.group(1) if found else None


def attempt(call: Callable[[], T], verb: Verb = Verb.READ) -> T:
    """Runs one request of proxmoxer. Raises ProxmoxError and nothing else of its errors."""
    try:
        answer = call()
    except (ResourceException, requests.RequestException, OSError) as error:
        failure = _failure(error, verb)
    else:
        if not (isinstance(answer, dict) and isinstance(answer.get("errors"), bytes)):
            return answer
        # proxmoxer's sign for a body that is not JSON: a gateway's page, never a container's state.
        failure = ProxmoxError(Kind.UNREACHABLE, "the answer is not JSON", 200, verb=verb)
    # Outside of `except`, so that the error does not keep the request, and its connection, alive as its context.
    raise failure


def _failure(error: Exception, verb: Verb) -> ProxmoxError:
    if isinstance(error, ResourceException):
        return _from_answer(error, verb)
    if isinstance(error, requests.exceptions.SSLError) and UNTRUSTED in str(error):
        return ProxmoxError(Kind.UNTRUSTED, _reason(error), verb=verb)
    if isinstance(error, requests.RequestException):
        return ProxmoxError(Kind.UNREACHABLE, _reason(error), verb=verb)
    return ProxmoxError(Kind.UNTRUSTED, str(error), verb=verb)  # requests' way to say that ca_file is not there


def _from_answer(error: ResourceException, verb: Verb) -> ProxmoxError:
    text = str(error.content or error.status_message or f"HTTP {error.status_code}").strip()
    if isinstance(error.errors, dict):
        # Bytes are proxmoxer's way to hand over a body that is not JSON: no parameter's error.
        named = [f"{name}: {str(why).strip()}" for name, why in error.errors.items() if not isinstance(why, bytes)]
        text = " ".join([text, "; ".join(named)]).strip()
    return ProxmoxError(classify(error.status_code, text, verb), text, error.status_code, verb=verb)


def _reason(error: Exception) -> str:
    """The innermost cause; the outer ones repeat the whole URL and the connection object's address."""
    cause: Any = error
    while getattr(cause, "args", None) and isinstance(cause.args[0], Exception):
        cause = getattr(cause.args[0], "reason", None) or cause.args[0]
    return re.sub(r"^<[^>]*>: |^HTTPSConnection\([^)]*\): ", "", str(cause)) or type(error).__name__


@dataclass(frozen=True)
class Endpoint:
    """Where a Proxmox node answers, and who asks. The token's value is never part of it."""

    host: str
    node: str
    user: str
    token_name: str
    port: int = 8006
    ca_file: str | None = None
    timeout: float = REQUEST_TIMEOUT

    @property
    def asker(self) -> str:
        """Who asks where, as one text."""
        return f"{self.host}:{self.port} {self.user}!{self.token_name}"


def connect(endpoint: Endpoint, token: str) -> ProxmoxAPI:
    """Makes no request. Certificates are always verified, against `ca_file` or the system's authorities."""
    api = ProxmoxAPI(
        endpoint.host,
        port=endpoint.port,
        user=endpoint.user,
        token_name=endpoint.token_name,
        token_value=token,
        verify_ssl=endpoint.ca_file or True,
        timeout=endpoint.timeout,
    )
    # Neither a proxy nor a .netrc of the caller's environment may get between us and Proxmox.
    api._store["session"].trust_env = False
    return api


@dataclass(frozen=True)
class Present(Generic[T]):
    value: T


@dataclass(frozen=True)
class Gone:
    """Proxmox says that there is no such container on the node."""


@dataclass(frozen=True)
class Unknown:
    """Proxmox did not say; never to be taken for gone."""

    error: ProxmoxError


Reading: TypeAlias = Present[T] | Gone | Unknown


@dataclass(frozen=True)
class Status:
    """What `status/current` says; `uptime` in seconds."""

    vmid: int
    power: str
    name: str
    uptime: int
    lock: str | None
    tags: tuple[str, ...]

    @property
    def running(self) -> bool:
        return self.power == "running"


class Proxmox:
    """One node, read only."""

    def __init__(self, endpoint: Endpoint, token: str) -> None:
        self.node = endpoint.node
        self.api = connect(endpoint, token)

    def close(self) -> None:
        """Ends the kept connection."""
        self.api._store["session"].close()

    def get(self, path: str, **query: Any) -> Any:
        """The answer's data for a path below the node. Raises ProxmoxError."""
        return attempt(lambda: self.api(f"nodes/{self.node}/{path}").get(**query))

    def status(self, vmid: int) -> Reading[Status]:
        return self._reading(lambda: _status(vmid, self.get(f"lxc/{vmid}/status/current")))

    def config(self, vmid: int) -> Reading[dict[str, Any]]:
        return self._reading(lambda: dict(self.get(f"lxc/{vmid}/config")))

    def interfaces(self, vmid: int) -> Reading[list[dict[str, Any]]]:
        """Empty also for a container that is stopped or missing: Proxmox answers alike, so ask `status`."""
        return self._reading(lambda: self.get(f"lxc/{vmid}/interfaces") or [])

    def in_use(self, vmid: int) -> Reading[bool]:
        """Whether any node of the cluster has a container or a virtual machine with this VMID."""
        return self._reading(lambda: self._in_use(vmid))

    def free_bytes(self, storage: str) -> int | None:
        """The free space of a storage; None when Proxmox does not say."""
        try:
            told = self.get(f"storage/{storage}/status")
        except ProxmoxError:
            return None
        return int(told["avail"]) if told.get("active") and "avail" in told else None

    def _in_use(self, vmid: int) -> bool:
        try:
            attempt(lambda: self.api("cluster/nextid").get(vmid=vmid))
        except ProxmoxError as error:
            if error.kind is Kind.TAKEN:
                return True
            raise
        return False

    @staticmethod
    def _reading(read: Callable[[], T]) -> Reading[T]:
        try:
            return Present(read())
        except ProxmoxError as error:
            return Gone() if error.kind is Kind.MISSING else Unknown(error)


def split_tags(tags: str | None) -> tuple[str, ...]:
    """Proxmox takes `;`, `,` and blanks between tags. Whether case counts is a setting of the cluster."""
    return tuple(tag for tag in re.split(r"[;,\s]+", tags or "") if tag)


def _status(vmid: int, data: Mapping[str, Any]) -> Status:
    return Status(
        vmid=vmid,
        power=str(data.get("status", "unknown")),
        name=str(data.get("name") or f"CT{vmid}"),
        uptime=int(data.get("uptime") or 0),
        lock=data.get("lock"),
        tags=split_tags(data.get("tags")),
    )
