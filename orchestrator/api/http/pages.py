"""Lists in pages: which rows a request asks for, and where the next page begins."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from orchestrator.api.http.call import Call
from orchestrator.api.http.parameters import LIMIT, Parameter

Key = TypeVar("Key")
Row = TypeVar("Row")


@dataclass(frozen=True)
class Pages(Generic[Key]):
    """How a list is cut: a page begins after the last row of the page before, which its key names.

    So a page costs the same wherever it is in the list, and rows that come meanwhile neither hide nor double another.
    """

    after: Parameter[Key]
    limit: Parameter[int] = LIMIT

    @property
    def parameters(self) -> tuple[Parameter[Any], ...]:
        """What a request may give."""
        return self.after, self.limit

    def read(
        self, call: Call, fetch: Callable[..., list[Row]], key: Callable[[Row], Key]
    ) -> tuple[list[Row], Key | None]:
        """The rows that a request asks for, and the `after` of the next page, which is None on the last one.

        `fetch` is a verb of the store that takes `after` and `limit`. Raises Problem (invalid-request).
        """
        limit = call.read(self.limit)
        rows = fetch(after=call.read(self.after), limit=limit)
        return rows, key(rows[-1]) if len(rows) == limit else None
