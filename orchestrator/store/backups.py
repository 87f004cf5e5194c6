"""Makes and restores back-ups of the database.

A back-up counts as good after the whole file was read back, and a restore after every row was found again.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from orchestrator.domain.errors import BackupError
from orchestrator.store import archives, contents, migrations
from orchestrator.store.contents import Contents, Occupants


@dataclass(frozen=True)
class Restored:
    """The outcome of a restore."""

    contents: Contents
    """What the archive held."""
    migrated: list[int]
    """The migrations that were run because the archive did not have them."""


def back_up(url: str, file: Path, *, force: bool) -> Contents:
    """Write the database into a file that only its owner may read. Returns what is in the file.

    The file appears when it is whole and was read back. API and workers may go on meanwhile, because the file holds the
    database of one moment. Raises BackupError and StoreUnavailable.
    """
    if file.exists() and not force:
        raise BackupError(f"{file} exists already: name another file, or overwrite it with --force")
    tools = archives.choose_tools(archives.find_tools(), contents.read_major(url))
    making = _make_beside(file)
    try:
        with contents.take_snapshot(url) as (snapshot, held):
            if not held.migrations:
                raise BackupError(
                    "the database has no schema of Hostwright: run `hostwright migrate`, or name another one"
                )
            archives.write(making, url, tools, snapshot=snapshot)
        refuse_difference(held, archives.read(making, tools), "the archive that pg_dump wrote")
        _put_in_place(making, file)
    finally:
        making.unlink(missing_ok=True)
    return held


def restore(url: str, file: Path, *, replace: bool) -> Restored:
    """Load an archive into an empty database and migrate it. With `replace`, the database is emptied first.

    All that can be checked is checked before anything is changed. Raises BackupError, StoreUnavailable, and
    ConfigurationError when the archive is newer than this release.
    """
    tools = archives.choose_tools(archives.find_tools(), contents.read_major(url))
    archived = archives.read(file, tools)
    if not archived.migrations:
        raise BackupError(f"{file} is no back-up of Hostwright: it has no table {contents.MIGRATIONS}")
    migrations.find_pending(archived.migrations, "the back-up")
    refuse_occupants(contents.read_occupants(url), replace=replace)
    if replace:
        contents.clear(url)
    try:
        archives.load(file, url, tools)
    except BackupError as error:
        raise BackupError(f"nothing was restored, and the database is empty: {error}") from error
    refuse_difference(archived, contents.read_contents(url), "the restored database")
    return Restored(archived, migrations.migrate(url))


def refuse_occupants(found: Occupants, *, replace: bool) -> None:
    """Raise BackupError when the database is in use, or when it is not empty and `replace` is not given."""
    if found.sessions:
        raise BackupError(
            f"others are connected to the database ({found.sessions}): stop every API and every worker, then restore"
        )
    if found.leases:
        raise BackupError(f"{found.leases[0]}: make sure that this worker has ended, wait until then, and restore")
    if found.objects and not replace:
        raise BackupError(
            "the database is not empty: restore into a new one, or delete all that is in this one with --replace"
        )


def refuse_difference(expected: Contents, found: Contents, subject: str) -> None:
    """Raise BackupError, which names each table whose number of rows is not the expected one."""
    names = sorted(expected.rows.keys() | found.rows.keys())
    wrong = [
        f"{name} has {found.rows.get(name, 'no')} rows and not {expected.rows.get(name, 'any')}"
        for name in names
        if expected.rows.get(name) != found.rows.get(name)
    ]
    if wrong or expected.migrations != found.migrations:
        raise BackupError(f"{subject} is not what it should be: {'; '.join(wrong) or 'other migrations'}")


def _make_beside(file: Path) -> Path:
    """Make an empty file of mode 0600 in the same directory, to be renamed later."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror}") from error
    os.close(descriptor)
    return Path(name)


def _put_in_place(made: Path, file: Path) -> None:
    """Give the file its name. Its content is on the disk already, because pg_dump syncs what it writes."""
    try:
        made.replace(file)
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror}") from error
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
