"""What a client gets: the base of all answers, problems, and what was accepted."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from orchestrator.domain.models import OperationRow, OperationStatusRead, PhaseRead

OPERATIONS_PATH = "/api/instances/operations"
_CAMEL = {"memory_mib": "memoryMiB", "disk_gib": "diskGiB"}


def camel(name: str) -> str:
    """The wire name of a field."""
    return _CAMEL.get(name) or to_camel(name)


class Answer(BaseModel):
    """The base of all answers: camelCase on the wire."""

    model_config = ConfigDict(frozen=True, alias_generator=camel, populate_by_name=True)

    def json_bytes(self) -> bytes:
        """The body."""
        return self.model_dump_json(by_alias=True).encode()


class FieldError(Answer):
    """One wrong part of a request."""

    pointer: str | None = None
    parameter: str | None = None
    detail: str


class ProblemAnswer(Answer):
    """RFC 9457 problem details; further members depend on the code."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError] | None = None


class Accepted(Answer):
    """An order or a teardown was accepted."""

    operation_id: UUID
    request_id: UUID
    server_id: UUID
    status: OperationStatusRead
    phase: PhaseRead | None
    status_url: str


def accepted(operation: OperationRow) -> Accepted:
    """The answer to an order or a teardown, with the operation's state."""
    return Accepted(
        operation_id=operation.id,
        request_id=operation.request_id,
        server_id=operation.instance_id,
        status=operation.status,
        phase=operation.phase,
        status_url=f"{OPERATIONS_PATH}/{operation.id}",
    )
