"""The parameters of requests: how each is read, and what the OpenAPI document says of it.

The row of an endpoint names its parameters, and so describes them; the endpoint's handler reads them with `call.read`,
which refuses one that the row does not name. Here are those that several nouns share; a noun's own stand with its
handlers.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from orchestrator.api.http.problems import invalid, not_found

T = TypeVar("T")
Schema = dict[str, Any]

CUSTOMER_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
MAX_SEQ = 2**62
"""No sequence number is larger."""
MAX_WAIT_SECONDS = 30
_MAX_VMID = 999_999_999
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,6})(?=$|[,;\s])", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Parameter(Generic[T]):
    """One parameter in the path, the query or the headers of a request."""

    name: str
    place: Literal["path", "query", "header"]
    schema: Schema
    description: str
    parse: Callable[[str | None], T]
    """Turns its text, or None when the request does not have it, into its value. Raises ValueError for a wrong text."""
    wrong: str = ""
    """What a client is told of a wrong text. In a path a wrong text names an unknown thing."""

    def read(self, given: Mapping[str, str]) -> T:
        """Its value, from the texts of its place. Raises Problem: invalid-request, or not-found in a path."""
        try:
            return self.parse(given.get(self.name))
        except ValueError:
            if self.place == "path":
                raise not_found() from None
            invalid([{"parameter": self.name, "detail": self.wrong}])


def optional(parse: Callable[[str], T]) -> Callable[[str | None], T | None]:
    """Make a parser take None too, for a parameter that may be left out."""
    return lambda text: None if text is None else parse(text)


def number(
    name: str, low: int, high: int, description: str, *, default: int, place: Literal["query", "header"] = "query"
) -> Parameter[int]:
    """A whole number."""
    schema = _number_schema(low, high) | {"default": default}

    def parse(text: str | None) -> int:
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 18 or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return Parameter(name, place, schema, description, parse, f"must be a whole number from {low} to {high}")


def choice(name: str, choices: Iterable[str], description: str) -> Parameter[str | None]:
    """One of the given words in a query."""
    known = [str(each) for each in choices]

    def parse(text: str) -> str:
        if text not in known:
            raise ValueError
        return text

    schema = {"type": "string", "enum": known}
    return Parameter(name, "query", schema, description, optional(parse), f"must be one of {', '.join(known)}")


def verbatim(
    name: str, place: Literal["path", "header"], description: str, schema: Schema | None = None
) -> Parameter[str]:
    """A text that is taken as it is. It is empty when it is left out."""
    return Parameter(name, place, schema or {"type": "string"}, description, lambda given: given or "")


def path_id(name: str, description: str) -> Parameter[UUID]:
    """An id in a path."""
    return Parameter(name, "path", _UUID, description, _parse_uuid)


def _number_schema(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def _parse_uuid(text: str | None) -> UUID:
    """Read a UUID in its usual spelling only, because the audit log recognises ids by their form."""
    found = UUID(text or "")
    if str(found) != (text or "").lower():
        raise ValueError
    return found


def _parse_server(text: str | None) -> UUID | int:
    if text and text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_VMID)):
        return int(text)
    return _parse_uuid(text)


def _parse_customer(text: str) -> str:
    if not CUSTOMER_ID.fullmatch(text):
        raise ValueError
    return text


def _parse_wait(text: str | None) -> int | None:
    """Read the seconds of `Prefer: wait=N` (RFC 7240). Other preferences are ignored, as the RFC demands."""
    match = _WAIT.search(text or "")
    return min(int(match[1]), MAX_WAIT_SECONDS) if match else None


_UUID: Schema = {"type": "string", "format": "uuid"}
_CUSTOMER: Schema = {"type": "string", "pattern": f"^{CUSTOMER_ID.pattern}$"}
_PAGE_BEFORE = "must be the `next` of the page before"
AFTER = "The `next` of the page before. Left out: the first page."
"""What a list's `after` is."""
LIMIT_OF_PAGE = "How many entries a page has at most."
"""What a list's `limit` is."""

LIMIT = number("limit", 1, 200, LIMIT_OF_PAGE, default=50)
"""The longest page that a request wants."""
AFTER_ID = Parameter("after", "query", _UUID, AFTER, optional(UUID), _PAGE_BEFORE)
AFTER_CUSTOMER = Parameter("after", "query", _CUSTOMER, AFTER, optional(_parse_customer), _PAGE_BEFORE)
CUSTOMER = Parameter(
    "customerId", "query", _CUSTOMER,
    "Only what is of this customer. A customer's token may name its own customer alone.",
    optional(_parse_customer), "is not a customer's id",
)  # fmt: skip
"""Narrows a list to one customer's."""
CUSTOMER_IN_PATH = verbatim("customer_id", "path", "The customer's id.", _CUSTOMER)
SERVER = Parameter(
    "server_id", "path", {"anyOf": [_UUID, _number_schema(0, _MAX_VMID)]},
    "The instance's id, or the VMID of one that was not deleted.", _parse_server,
)  # fmt: skip
"""An instance, by its id or by the VMID of a live one."""
WAIT = Parameter(
    "Prefer",
    "header",
    {"type": "string"},
    f"`wait=N`: answer after N seconds at the latest, at most {MAX_WAIT_SECONDS}. Other preferences are ignored.",
    _parse_wait,
)
IF_NONE_MATCH = Parameter(
    "If-None-Match", "header", {"type": "string"},
    "The `ETag` of an earlier answer. The answer is 304 while it holds, and with `Prefer` comes when it does not.",
    optional(str),
)  # fmt: skip
LAST_EVENT_ID = number(
    "Last-Event-ID", 0, MAX_SEQ, "The id of the last event that the client has. Left out: the first.",
    default=0, place="header",
)  # fmt: skip
"""Where a stream goes on."""
