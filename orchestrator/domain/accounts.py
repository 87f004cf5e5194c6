"""What a customer's limit and a token's name may be, wherever they are set."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

MAX_LIMIT = 2_000_000_000
"""The largest limit that the database can hold."""

Limit = Annotated[int, Field(ge=0, le=MAX_LIMIT)]


def _check_printable(text: str) -> str:
    """Refuse what would break a line of a log or a table, or turn its direction."""
    if not text.isprintable():
        raise PydanticCustomError("text", "must not hold control characters or line breaks")
    return text


TokenName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_check_printable)]
