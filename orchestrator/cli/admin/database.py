"""The database as administrative commands use it."""

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

Row = TypeVar("Row")
_PAGE = 200


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The configured database. Raises StoreUnavailable when it does not answer."""
    database = Database(resolve_url(settings), size=2)
    database.connect().close()  # says in one sentence why it cannot; the pool would only try again and again
    database.open()
    try:
        yield database
    finally:
        database.close()


def read_all(fetch: Callable[..., list[Row]], key: Callable[[Row], Any]) -> list[Row]:
    """Every row of a list, which `fetch` gives in pages: those with a key after `after`, at most `limit`."""
    rows: list[Row] = []
    while page := fetch(after=key(rows[-1]) if rows else None, limit=_PAGE):
        rows += page
    return rows


def note(database: Database, command: str, target: str) -> None:
    """Append what a command did to the audit log, in the name of the Unix user."""
    entry = AuditEntry(principal=f"cli:{_user()}", method="CLI", route=f"hostwright {command}", target=target)
    audit.record(database, entry)


def _user() -> str:
    """The Unix user's name; a container may run as a number that has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
