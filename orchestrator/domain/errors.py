"""Every error that Hostwright raises.

HostwrightError
├── ConfigurationError   a setting or a file is wrong, and the process does not start
├── Problem              the API refuses a request (RFC 9457: `code`, HTTP status, sentence)
├── StoreUnavailable     the database does not answer
├── BackupError          the database cannot be backed up or restored
├── WorkerUnfit          this worker can carry nothing out, so another one has to
├── LostLease            a write carried a fencing token that is no longer valid
├── CancelRequested      somebody asked to cancel the operation before it succeeded
└── IllegalTransition    the database refused a state change

`Code` says why an operation failed, `ProblemCode` why a request was refused. Their values are never renamed; new ones
are added. docs/errors.md explains each value, and a test compares that page with this module.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """Why an operation failed."""

    VMID_TAKEN = "vmid-taken"
    NOT_OURS = "not-ours"
    TEMPLATE_MISSING = "template-missing"
    CLONE_LOCKED = "clone-locked"
    STORAGE_FULL = "storage-full"
    PROXMOX_UNREACHABLE = "proxmox-unreachable"
    PROXMOX_DENIED = "proxmox-denied"
    PROXMOX_TASK_FAILED = "proxmox-task-failed"
    IP_TIMEOUT = "ip-timeout"
    AGENT_UNREACHABLE = "agent-unreachable"
    AGENT_REJECTED = "agent-rejected"
    AGENT_ERROR = "agent-error"
    AGENT_TIMEOUT = "agent-timeout"
    DNS_FAILED = "dns-failed"
    VELOCITY_FAILED = "velocity-failed"
    VERIFY_FAILED = "verify-failed"
    DEADLINE_EXCEEDED = "deadline-exceeded"
    WORKER_LOST = "worker-lost"
    CANCELLED = "cancelled"
    INTERNAL = "internal"

    @property
    def customer_sentence(self) -> str:
        """What a customer is told, with what it can do. It names nothing of the site: that is for operators."""
        return _CUSTOMER_SENTENCES[self]


WAITING = "waiting: "
"""How the log line begins that tells operators, in a provider's or proxy's own words, what a phase waits for."""
ASKED_FOR_TIME = "a name service or the proxy asks for some time"
"""What customers are told of that."""
PAUSE = "retryAfterSeconds"
"""The detail of a failure that says for how many seconds a provider or proxy wants no request."""
_LATER = "try again later; if it happens again, tell your provider the operation's id"
_PROVIDER = "your provider has to see to it: tell them the operation's id"
_CUSTOMER_SENTENCES = {
    Code.VMID_TAKEN: f"there is no room for the server at the moment: {_LATER}",
    Code.NOT_OURS: f"the server's container is not there any more: {_PROVIDER}",
    Code.TEMPLATE_MISSING: f"what was ordered is not available at the moment: {_PROVIDER}",
    Code.CLONE_LOCKED: f"too many servers were being made at once: {_LATER}",
    Code.STORAGE_FULL: f"there is no room for the server's disk at the moment: {_LATER}",
    Code.PROXMOX_UNREACHABLE: f"the machines that run servers did not answer: {_LATER}",
    Code.PROXMOX_DENIED: f"the machines that run servers refused a request: {_PROVIDER}",
    Code.PROXMOX_TASK_FAILED: f"the machines that run servers could not do it: {_LATER}",
    Code.IP_TIMEOUT: f"the server got no address in time: {_LATER}",
    Code.AGENT_UNREACHABLE: f"the server started, but did not answer: {_LATER}",
    Code.AGENT_REJECTED: f"the server refused its configuration: {_PROVIDER}",
    Code.AGENT_ERROR: "installing or starting failed on the server: check what you ordered, then order again",
    Code.AGENT_TIMEOUT: f"installing and starting took too long on the server: {_LATER}",
    Code.DNS_FAILED: f"the server's name could not be published or withdrawn: {_LATER}",
    Code.VELOCITY_FAILED: f"the server could not be registered where players join, or be taken off there: {_LATER}",
    Code.VERIFY_FAILED: f"the server runs, but players would not get through to it: {_LATER}",
    Code.DEADLINE_EXCEEDED: f"it took longer than it may: {_LATER}",
    Code.WORKER_LOST: f"it was interrupted on our side: {_LATER}",
    Code.CANCELLED: "cancelled on request",
    Code.INTERNAL: f"something went wrong on our side: {_PROVIDER}",
}


class ProblemCode(StrEnum):
    """Why a request was refused."""

    INVALID_REQUEST = "invalid-request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    PAYMENT_REQUIRED = "payment-required"
    CUSTOMER_SUSPENDED = "customer-suspended"
    QUOTA_EXCEEDED = "quota-exceeded"
    NOT_FOUND = "not-found"
    DELETED = "deleted"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused"
    CREATE_IN_PROGRESS = "create-in-progress"
    INSTANCE_BUSY = "instance-busy"
    ALREADY_FINISHED = "already-finished"
    NOT_CANCELLABLE = "not-cancellable"
    NOT_RETRYABLE = "not-retryable"
    NOT_STARTABLE = "not-startable"
    BODY_TOO_LARGE = "body-too-large"
    URI_TOO_LONG = "uri-too-long"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    RATE_LIMITED = "rate-limited"
    HEADERS_TOO_LARGE = "headers-too-large"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


PROBLEM_STATUS: dict[ProblemCode, int] = {
    ProblemCode.INVALID_REQUEST: 400,
    ProblemCode.UNAUTHENTICATED: 401,
    ProblemCode.PAYMENT_REQUIRED: 402,
    ProblemCode.FORBIDDEN: 403,
    ProblemCode.CUSTOMER_SUSPENDED: 403,
    ProblemCode.QUOTA_EXCEEDED: 403,
    ProblemCode.NOT_FOUND: 404,
    ProblemCode.DELETED: 404,
    ProblemCode.METHOD_NOT_ALLOWED: 405,
    ProblemCode.IDEMPOTENCY_KEY_REUSED: 409,
    ProblemCode.CREATE_IN_PROGRESS: 409,
    ProblemCode.INSTANCE_BUSY: 409,
    ProblemCode.ALREADY_FINISHED: 409,
    ProblemCode.NOT_CANCELLABLE: 409,
    ProblemCode.NOT_RETRYABLE: 409,
    ProblemCode.NOT_STARTABLE: 409,
    ProblemCode.BODY_TOO_LARGE: 413,
    ProblemCode.URI_TOO_LONG: 414,
    ProblemCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ProblemCode.RATE_LIMITED: 429,
    ProblemCode.HEADERS_TOO_LARGE: 431,
    ProblemCode.INTERNAL: 500,
    ProblemCode.UNAVAILABLE: 503,
}
"""The HTTP status of each problem (RFC 9110)."""


class HostwrightError(Exception):
    """The base of all errors that Hostwright raises."""


class ConfigurationError(HostwrightError):
    """A setting or a file is wrong. The text names it and says what to do."""


@dataclass
class Problem(HostwrightError):
    """A refused request. `detail` is a sentence for a person, `extra` holds further members of the answer."""

    code: ProblemCode
    detail: str
    extra: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return PROBLEM_STATUS[self.code]


class StoreUnavailable(HostwrightError):
    """The database does not answer, and nothing was written."""


class BackupError(HostwrightError):
    """The database cannot be backed up or restored. The text says why."""


class WorkerUnfit(HostwrightError):
    """This worker can carry nothing out: its machine or files are at fault, not the operation. The text says why."""


class LostLease(HostwrightError):
    """Another worker holds the operation by now. Whoever catches this stops at once and writes nothing more."""


class CancelRequested(HostwrightError):
    """Somebody asked to cancel the operation, so it is undone instead of finished."""


class IllegalTransition(HostwrightError):
    """The database refused a state change that the state machine does not have."""
