"""Frozen models of the rows that the store returns and takes.

A row may hold what a newer release wrote. If reading failed on it, one row would stop every list. So an unknown word is
read as plain text, and an unknown member is ignored. Only the newer release decides about such a
row (orchestrator.store.leases).
"""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from orchestrator.domain.billing import BillingState
from orchestrator.domain.catalogue import ContainerType
from orchestrator.domain.errors import ASKED_FOR_TIME, PAUSE, WAITING, Code
from orchestrator.domain.phases import Phase
from orchestrator.domain.publications import Publication
from orchestrator.domain.states import InstanceStatus, OperationStatus, PhaseStatus


class OrNewer:
    """Reads a known word as its enum's member, and any other word as text. OpenAPI lists only the known words."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        known, text = get_args(source)
        return core_schema.union_schema([handler(known), handler(text)], mode="left_to_right")

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema["choices"][0])


_OR_NEWER = OrNewer()
BillingStateRead = Annotated[BillingState | str, _OR_NEWER]
CtypeRead = Annotated[ContainerType | str, _OR_NEWER]
CodeRead = Annotated[Code | str, _OR_NEWER]
PhaseRead = Annotated[Phase | str, _OR_NEWER]
PhaseStatusRead = Annotated[PhaseStatus | str, _OR_NEWER]
OperationStatusRead = Annotated[OperationStatus | str, _OR_NEWER]
InstanceStatusRead = Annotated[InstanceStatus | str, _OR_NEWER]


class Frozen(BaseModel):
    """The base of all models."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(Frozen):
    """The base of what is read from the database."""

    model_config = ConfigDict(extra="ignore")


class Principal(Row):
    """Who makes a request: a customer, or an operator, who has no `customer_id`."""

    name: str
    customer_id: str | None
    token_id: UUID | None = None
    expires_at: datetime | None = None

    @property
    def is_operator(self) -> bool:
        """Whether this is an operator, who may see and change everything."""
        return self.customer_id is None


class TokenRow(Row):
    """What is known of a token, without the token itself."""

    id: UUID
    name: str
    customer_id: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    last_address: IPv4Address | IPv6Address | None


class AuditEntry(Frozen):
    """A line for the audit log: a request to change something, and its outcome."""

    principal: str = Field(description="Who asked: the name of the token, or of the system or user that acted.")
    token_id: UUID | None = Field(default=None, description="The id of the token.")
    customer_id: str | None = Field(default=None, description="The customer whose token it was.")
    address: IPv4Address | IPv6Address | None = Field(
        default=None, description="The address that the request came from."
    )
    method: str = Field(description="The HTTP method.")
    route: str = Field(description="The path, with the names of its parameters.")
    target: str = Field(
        default="-", description="The id in the path, or that of what was made; `-` when there is none."
    )
    status: int | None = Field(default=None, description="The HTTP status of the answer.")
    code: str | None = Field(default=None, description="The code of the refusal.")
    operation_id: UUID | None = Field(default=None, description="The operation that the request made or changed.")


class AuditRow(AuditEntry):
    """A line of the audit log."""

    model_config = ConfigDict(extra="ignore")

    seq: int = Field(description="The number of the line, which only grows.")
    at: datetime = Field(description="When it was written.")


class Limits(Row):
    """The most that a customer may have. None means that there is no limit."""

    instances: int | None = None
    memory_mib: int | None = None
    cpu_cores: int | None = None


class Usage(Row):
    """What counts against a customer's limits now."""

    instances: int = 0
    memory_mib: int = 0
    cpu_cores: int = 0


class CustomerRow(Row):
    """A customer, with its limits and its use in total and for each container type."""

    id: str
    billing_state: BillingStateRead
    created_at: datetime
    limits: Limits
    used: Usage
    ctype_limits: dict[CtypeRead, Limits]
    ctype_used: dict[CtypeRead, Usage]


class Failure(Row):
    """Why an operation failed. Row, API and log show the same object."""

    code: CodeRead = Field(description="Why it failed. Codes are stable: new ones may come, none is renamed.")
    phase: PhaseRead | None = Field(default=None, description="The phase that failed.")
    task: str | None = Field(default=None, description="The task of the playbook that failed; for operators.")
    message: str = Field(description="One sentence, with cause and remedy.")
    detail: dict[str, Any] | None = Field(
        default=None, description="More facts, by name, such as the last lines of a log."
    )

    @property
    def pause(self) -> float | None:
        """The seconds after which the same can work, where a provider or proxy has named them."""
        seconds = (self.detail or {}).get(PAUSE)
        return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None

    def for_customer(self) -> "Failure":
        """The same failure in the words for customers. `message`, `task` and `detail` name parts of the site.

        What the agent reports of its installation is the customer's own: it comes from within its server and says what
        to mend there.
        """
        if self.code is Code.AGENT_ERROR and self.phase is Phase.WAIT_FOR_AGENT:
            tail = (self.detail or {}).get("logTail")
            return self.model_copy(update={"task": None, "detail": {"logTail": tail} if tail else None})
        code = self.code if isinstance(self.code, Code) else Code.INTERNAL
        return Failure(code=self.code, phase=self.phase, message=code.customer_sentence)


CANCELLED = Failure(code=Code.CANCELLED, message="cancelled on request")
"""The failure of an operation that was cancelled."""


class CleanupStep(Row):
    """One phase of a cleanup."""

    name: PhaseRead = Field(description="The phase.")
    status: PhaseStatusRead = Field(description="How far it has come.")
    message: str | None = Field(default=None, description="Why it failed; for operators.")


class Cleanup(Row):
    """How far each step of a cleanup has come. `leaked` names what could not be undone."""

    status: PhaseStatusRead = Field(description="How far the whole has come.")
    steps: tuple[CleanupStep, ...] = Field(default=(), description="Its phases in order.")
    leaked: tuple[str, ...] = Field(
        default=(), description="What may still be there, as `container:<vmid>` or `edge:<host name>`."
    )

    def for_customer(self) -> "Cleanup":
        """The same cleanup without the reasons of its steps, which name parts of the site."""
        return self.model_copy(
            update={"steps": tuple(step.model_copy(update={"message": None}) for step in self.steps)}
        )

    @property
    def keeps_machine(self) -> bool:
        """Whether the machine was only unpublished, because its customer wants to look at it."""
        return [step.name for step in self.steps] == [Phase.UNPUBLISH_EDGE]


class PhaseRow(Row):
    """A phase that has begun."""

    name: PhaseRead
    status: PhaseStatusRead
    started_at: datetime
    finished_at: datetime | None
    retries: int


class OperationRow(Row):
    """An operation."""

    id: UUID
    instance_id: UUID
    customer_id: str
    kind: str
    status: OperationStatusRead
    phase: PhaseRead | None
    attempt: int
    ctype: CtypeRead
    vmid: int | None
    hostname: str | None
    spec: dict[str, Any]
    request_id: UUID
    fencing_token: int
    heartbeat_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    due_at: datetime | None = None
    """Until when it is put off. None when it is not."""
    error: Failure | None
    cleanup: Cleanup | None
    last_seq: int
    losses: int
    cancel_requested_at: datetime | None
    clone_upid: str | None
    background: bool
    retry_of: UUID | None
    phases: tuple[PhaseRow, ...] | None
    queue_position: int | None
    worker_alive: bool | None = None
    """Whether any worker was seen lately. Lists do not read it."""

    def for_customer(self) -> "OperationRow":
        """The same operation as its customer may see it."""
        update = {
            "error": self.error and self.error.for_customer(),
            "cleanup": self.cleanup and self.cleanup.for_customer(),
        }
        return self.model_copy(update=update)


class Claim(Frozen):
    """An operation that was just claimed."""

    operation: OperationRow
    left_seconds: float
    """The seconds until its deadline. The number is negative when the deadline has passed."""
    age_seconds: float
    """The seconds since it was asked for."""
    was_ready: bool
    """Whether its instance was ready before the operation."""
    publications: tuple[Publication, ...]
    """What is recorded as published for its instance."""
    publications_known: bool = True
    """Whether that is all. What an earlier release published may not be recorded yet."""


class EventRow(Row):
    """One line of an operation's log."""

    seq: int
    at: datetime
    phase: str | None
    level: str
    message: str

    def for_customer(self, failure: Failure | None) -> "EventRow":
        """The same line as the customer of an operation that failed so may see it.

        Errors, and what a provider or proxy says that wants to be left alone, are told to operators.
        """
        if self.message.startswith(WAITING) and self.phase not in (Phase.SEND_AGENT_CONFIG, Phase.WAIT_FOR_AGENT):
            return self.model_copy(update={"message": f"{WAITING}{ASKED_FOR_TIME}"})
        if self.level != "error":
            return self
        told = failure.for_customer().message if failure else Code.INTERNAL.customer_sentence
        return self.model_copy(update={"message": told})


class InstanceRow(Row):
    """An instance."""

    id: UUID
    customer_id: str
    ctype: CtypeRead
    status: InstanceStatusRead
    vmid: int | None
    hostname: str | None
    address: IPv4Address | IPv6Address | None
    spec: dict[str, Any]
    proxy_status: str | None
    leaked: tuple[str, ...]
    attend_at: datetime | None
    """When the sweep looks after it. None while that is under way, or not needed."""
    failing_since: datetime | None
    """Since when something that must be done with it fails. None when nothing does."""
    expires_at: datetime | None
    created_at: datetime
    ready_at: datetime | None
    updated_at: datetime
    active_operation: UUID | None = None
    records: tuple[Publication, ...] | None = None
    """What is published of a ready instance, in the order in which it was recorded."""
    proxy_status_age: float | None = None
    """The seconds since the proxy said so, on the database's clock."""


class ServerRow(Row):
    """An instance as the predecessor told it."""

    id: UUID
    vmid: int | None
    hostname: str | None
    ctype: CtypeRead
    status: InstanceStatusRead
    runtime: str | None
    variant: str | None
    version: str | None


class Lease(Frozen):
    """The right to write to an operation. It consists of the operation's id and the fencing token of the claim."""

    operation_id: UUID
    fencing_token: int
