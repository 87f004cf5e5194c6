"""Bodies of requests: JSON objects, checked against models.

The wrong fields are named in one answer, by JSON pointer. What a client wrote is never echoed back in full.
"""

import json
import re
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from orchestrator.api.http.answers import camel
from orchestrator.api.http.parameters import CUSTOMER_ID
from orchestrator.api.http.problems import invalid

Body = TypeVar("Body", bound=BaseModel)
CustomerId = Annotated[str, Field(pattern=f"^{CUSTOMER_ID.pattern}$")]

_NO_CONTROL = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")
_POINTER_CHARACTERS = 100


class RequestBody(BaseModel):
    """The base of bodies. Names are camelCase on the wire, unknown fields are refused, and nothing is converted.

    A field's docstring is its description in OpenAPI.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=camel, use_attribute_docstrings=True
    )


def one_line(text: str) -> str:
    """Refuse a text with characters that would break a line."""
    if not _NO_CONTROL.fullmatch(text):
        raise PydanticCustomError("text", "must not hold control characters or line breaks")
    return text


def parse_body(model: type[Body], body: bytes) -> Body:
    """Read a body into its model. Raises Problem naming the wrong fields."""
    try:
        return model.model_validate(parse_object(body))
    except ValidationError as error:
        invalid(name_errors(error, thing="request"))


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a body as a JSON object. Raises Problem."""
    try:
        data = json.loads(body, parse_constant=_refuse_constant, object_pairs_hook=_refuse_double)
    except (ValueError, RecursionError):
        invalid([{"pointer": "", "detail": "the body is not valid JSON"}])
    if not isinstance(data, dict):
        invalid([{"pointer": "", "detail": "the body must be a JSON object"}])
    return data


def name_errors(error: ValidationError, *, thing: str, depth: int | None = None) -> list[dict[str, str]]:
    """List the wrong fields of a body. Pointers go no deeper than `depth`; `thing` is what the body is called."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [_field_error(item["loc"][:depth], item["type"], item["msg"], thing) for item in found]


def _field_error(location: tuple[int | str, ...], kind: str, text: str, thing: str) -> dict[str, str]:
    parts = [str(part) for part in location]
    pointer = "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)
    detail = f"is not a field of this {thing}" if kind == "extra_forbidden" else text
    return {
        "pointer": pointer.encode("utf-8", "replace").decode()[:_POINTER_CHARACTERS],
        "detail": "is required" if kind == "missing" else detail,
    }


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse_double(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        invalid([{"pointer": "", "detail": "a name stands twice in one JSON object"}])
    return data
