"""The database as administrative commands use it."""

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.database import resolve_url
from orchestrator.settings import Settings
from orchestrator.store.connection import Database


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The configured database. Raises StoreUnavailable when it does not answer."""
    database = Database(resolve_url(settings), size=2)
    database.open()
    try:
        yield database
    finally:
        database.close()
