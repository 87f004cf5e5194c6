"""The database as administrative commands use it."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.domain.models import AuditEntry
from orchestrator.settings import Settings
from orchestrator.store import audit
from orchestrator.store.connection import Database
from orchestrator.store.embedded import resolve_url


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
