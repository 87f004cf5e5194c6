"""The database, as administrative commands use it."""

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from orchestrator.domain.models import AuditEntry
from orchestrator.settings import Settings
from orchestrator.store import audit
from orchestrator.store.connection import Database
from orchestrator.store.embedded import resolve_url
from orchestrator.store.migrations import require_current

Row = TypeVar("Row")
_PAGE = 200


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """Open the configured database.

    Raises StoreUnavailable when it does not answer, and ConfigurationError when it is not of this release.
    """
    url = resolve_url(settings)
    require_current(url)  # fails at once and says why, where the pool would try again and again
    database = Database(url, size=2)
    database.open()
    try:
        yield database
    finally:
        database.close()


def read_all(fetch: Callable[..., list[Row]], key: Callable[[Row], Any]) -> list[Row]:
    """Read every row of a list page by page. `fetch` takes `after`, the key of the last row, and `limit`."""
    rows: list[Row] = []
    while page := fetch(after=key(rows[-1]) if rows else None, limit=_PAGE):
        rows += page
    return rows


def note(database: Database, command: str, target: str) -> None:
    """Write what a command did into the audit log, in the name of the Unix user."""
    entry = AuditEntry(principal=f"cli:{_user()}", method="CLI", route=f"hostwright {command}", target=target)
    audit.record(database, entry)


def _user() -> str:
    """The Unix user's name, or its number when it has no name, as in some containers."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
