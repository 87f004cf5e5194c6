"""What a customer's limit and a token's name may be, wherever they are set."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from orchestrator.domain.texts import is_plain

MAX_LIMIT = 2_000_000_000
"""The largest limit that the database can hold."""

Limit = Annotated[int, Field(ge=0, le=MAX_LIMIT)]


def _check_plain(name: str) -> str:
    """Refuse a name that would not show in a list or a log what it holds."""
    if not (is_plain(name) and name.strip()):
        raise PydanticCustomError("text", "must be visible, without control or format characters or line breaks")
    return name


TokenName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_check_plain)]
