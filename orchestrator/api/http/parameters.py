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
"""More than any sequence number will ever be."""
MAX_WAIT_SECONDS = 30
_MAX_VMID = 999_999_999
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,6})(?=$|[,;\s])", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Parameter(Generic[T]):
    """One parameter of a path, a query or the headers."""

    name: str
    place: Literal["path", "query", "header"]
    schema: Schema
    parse: Callable[[str | None], T]
    """What its text means, or None when the request does not have it. Raises ValueError when it means nothing."""
    wrong: str = ""
    """What a client is told whose text means nothing. In a path that is an unknown thing."""

    def read(self, given: Mapping[str, str]) -> T:
        """Its value among those of its place. Raises Problem: invalid-request, in a path not-found."""
        try:
            return self.parse(given.get(self.name))
        except ValueError:
            if self.place == "path":
                raise not_found() from None
            invalid([{"parameter": self.name, "detail": self.wrong}])


def optional(parse: Callable[[str], T]) -> Callable[[str | None], T | None]:
    """Of what may be left out: then it is None."""
    return lambda text: None if text is None else parse(text)


def number(name: str, low: int, high: int, *, default: int) -> Parameter[int]:
    """A whole number of a query."""

    def parse(text: str | None) -> int:
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 18 or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return Parameter(name, "query", _number(low, high), parse, f"must be a whole number from {low} to {high}")


def choice(name: str, choices: Iterable[str]) -> Parameter[str | None]:
    """One of a few words, in a query."""
    known = [str(each) for each in choices]

    def parse(text: str) -> str:
        if text not in known:
            raise ValueError
        return text

    return Parameter(
        name, "query", {"type": "string", "enum": known}, optional(parse), f"must be one of {', '.join(known)}"
    )


def verbatim(name: str, place: Literal["path", "header"], schema: Schema | None = None) -> Parameter[str]:
    """What its handler reads as it is; empty when it is left out."""
    return Parameter(name, place, schema or {"type": "string"}, lambda given: given or "")


def path_id(name: str) -> Parameter[UUID]:
    """An id in a path."""
    return Parameter(name, "path", _UUID, _canonical_uuid)


def _number(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def _canonical_uuid(text: str | None) -> UUID:
    """Only as we spell it: the audit log would not know what another spelling means."""
    found = UUID(text or "")
    if str(found) != (text or "").lower():
        raise ValueError
    return found


def _server(text: str | None) -> UUID | int:
    if text and text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_VMID)):
        return int(text)
    return _canonical_uuid(text)


def _customer(text: str) -> str:
    if not CUSTOMER_ID.fullmatch(text):
        raise ValueError
    return text


def _wait(text: str | None) -> int | None:
    """The seconds of `Prefer: wait=N` (RFC 7240); other preferences are ignored as the RFC asks."""
    match = _WAIT.search(text or "")
    return min(int(match[1]), MAX_WAIT_SECONDS) if match else None


_UUID: Schema = {"type": "string", "format": "uuid"}
_CUSTOMER: Schema = {"type": "string", "pattern": f"^{CUSTOMER_ID.pattern}$"}
_PAGE_BEFORE = "must be the `next` of the page before"

LIMIT = number("limit", 1, 200, default=50)
"""How many rows a page has at most."""
AFTER_ID = Parameter("after", "query", _UUID, optional(UUID), _PAGE_BEFORE)
AFTER_CUSTOMER = Parameter("after", "query", _CUSTOMER, optional(_customer), _PAGE_BEFORE)
CUSTOMER = Parameter("customerId", "query", _CUSTOMER, optional(_customer), "is not a customer's id")
"""Narrows a list to one customer's."""
CUSTOMER_IN_PATH = verbatim("customer_id", "path", _CUSTOMER)
SERVER = Parameter("server_id", "path", {"anyOf": [_UUID, _number(0, _MAX_VMID)]}, _server)
"""An instance, by its id or by the VMID of a live one."""
WAIT = Parameter(
    "Prefer",
    "header",
    {"type": "string", "description": "`wait=N`: answer after N seconds at the latest, at most 30."},
    _wait,
)
IF_NONE_MATCH = Parameter("If-None-Match", "header", {"type": "string"}, optional(str))
