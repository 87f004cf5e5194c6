"""Answers: the base of their models, and the body of a problem."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel
from starlette.responses import Response

_CAMEL = {"memory_mib": "memoryMiB", "disk_gib": "diskGiB"}

Address = Annotated[str, BeforeValidator(str)]
"""An IP address as text."""


def camel(name: str) -> str:
    """The wire name of a field."""
    return _CAMEL.get(name) or to_camel(name)


class Answer(BaseModel):
    """The base of all answers. Names are camelCase on the wire.

    A field's docstring is its description in OpenAPI.
    """

    model_config = ConfigDict(frozen=True, alias_generator=camel, populate_by_name=True, use_attribute_docstrings=True)

    @classmethod
    def of(cls, row: BaseModel, **more: Any) -> Self:
        """Make an answer of a row's fields of the same names, and of `more`, which wins."""
        return cls.model_validate({**vars(row), **more})

    def json_bytes(self) -> bytes:
        """The body of the response."""
        return self.model_dump_json(by_alias=True).encode()


class FieldError(Answer):
    """A part of a request that is wrong."""

    pointer: str | None = None
    """JSON pointer (RFC 6901) to the wrong part of the body; empty for the whole."""
    parameter: str | None = None
    """The name of the wrong parameter in path, query or headers."""
    detail: str
    """What is wrong with it."""


class ProblemAnswer(Answer):
    """Problem details (RFC 9457). Of the members from `errors` on an answer has those that its code needs."""

    type: str
    """`urn:hostwright:problem:` and the code."""
    title: str
    """The phrase of the HTTP status."""
    status: int
    """The HTTP status of the answer."""
    code: str
    """Why the request was refused. Codes are stable: new ones may come, none is renamed."""
    detail: str
    """One sentence for a person."""
    errors: list[FieldError] | None = None
    """What is wrong with the request, part by part: the first 20."""
    operation_id: UUID | None = None
    """The operation that stands in the way, or that the key belongs to."""
    deleted_at: datetime | None = None
    """When the server was deleted."""
    resource: str | None = None
    """What there is too little of: `instances`, `memoryMiB`, `cpuCores`, `failedInstances` or `keptInstances`."""
    ctype: str | None = None
    """The container type that the limit is for; null for that of all types."""
    limit: int | None = None
    """How much the customer may have."""
    used: int | None = None
    """How much it has."""
    requested: int | None = None
    """How much the order asks for."""


def answer(body: Answer, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer that no cache keeps."""
    return Response(
        body.json_bytes(),
        status,
        headers={"Cache-Control": "no-store"} | (headers or {}),
        media_type="application/json",
    )
