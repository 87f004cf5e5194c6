"""Pages of lists: which rows a request asks for, and where the next page begins."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from orchestrator.api.http.call import Call
from orchestrator.api.http.parameters import LIMIT, Parameter

Key = TypeVar("Key")
Row = TypeVar("Row")


@dataclass(frozen=True)
class Pages(Generic[Key]):
    """How a list is cut into pages.

    A page begins after the last row of the page before, which is named by its key. So every page costs the same, and
    rows that are added meanwhile neither hide others nor show them twice.
    """

    after: Parameter[Key]
    limit: Parameter[int] = LIMIT

    @property
    def parameters(self) -> tuple[Parameter[Any], ...]:
        """The parameters of a request for a page."""
        return self.after, self.limit

    def read(
        self, call: Call, fetch: Callable[..., list[Row]], key: Callable[[Row], Key]
    ) -> tuple[list[Row], Key | None]:
        """Read the rows that a request asks for. Returns them with the `after` of the next page, or None on the last.

        `fetch` is a verb of the store that takes `after` and `limit`. It is asked for one row more, which tells whether
        there is a next page. Raises Problem (invalid-request).
        """
        limit = call.read(self.limit)
        rows = fetch(after=call.read(self.after), limit=limit + 1)
        page = rows[:limit]
        return page, key(page[-1]) if len(rows) > limit else None
