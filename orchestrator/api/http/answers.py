"""Answers: the base of their models, and the body of a problem."""

from typing import Annotated, Any, Self

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
    """The base of all answers. Names are camelCase on the wire."""

    model_config = ConfigDict(frozen=True, alias_generator=camel, populate_by_name=True)

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


def answer(body: Answer, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer that no cache keeps."""
    return Response(
        body.json_bytes(),
        status,
        headers={"Cache-Control": "no-store"} | (headers or {}),
        media_type="application/json",
    )
