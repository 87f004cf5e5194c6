"""`hostwright backup` and `hostwright restore`: write the database into a file, and load it again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.cli.admin.database import note, open_database
from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings import load_settings

if TYPE_CHECKING:
    from orchestrator.store.contents import Contents

app = typer.Typer()
console = Console(highlight=False)

File = Annotated[Path, typer.Argument(help="The archive, in the custom format of pg_dump.")]


@app.command(rich_help_panel="Administration")
def backup(
    file: File,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write the database into a file, and read the file back. API and workers may go on."""
    from orchestrator.store.backups import back_up
    from orchestrator.store.embedded import resolve_url

    settings = load_settings()
    held = back_up(resolve_url(settings), file, force=force)
    # A database of another release is backed up as it is, before it is migrated: its log may be another one.
    try:
        with open_database(settings) as database:
            note(database, "backup", str(file))
    except ConfigurationError as error:
        console.print(f"not noted in the audit log: {escape(str(error))}", soft_wrap=True)
    console.print(f"{escape(str(file))}: {_describe(held)}", soft_wrap=True)


@app.command(rich_help_panel="Administration")
def restore(
    file: File,
    replace: Annotated[bool, typer.Option("--replace", help="Delete what the database holds now.")] = False,
) -> None:
    """Load a backup into an empty database, and migrate it to this release. API and workers must be stopped."""
    from orchestrator.store.backups import restore as run
    from orchestrator.store.embedded import resolve_url

    settings = load_settings()
    restored = run(resolve_url(settings), file, replace=replace)
    with open_database(settings) as database:
        note(database, "restore", str(file))
    migrated = f"; applied: {', '.join(map(str, restored.migrated))}" if restored.migrated else ""
    console.print(f"restored {_describe(restored.contents)}{migrated}", soft_wrap=True)


def _describe(held: "Contents") -> str:
    """Say what is in it, such as `schema 4, 123 rows in 16 tables: instance 2, …`."""
    each = ", ".join(f"{name} {count}" for name, count in held.rows.items() if count)
    return f"schema {max(held.migrations)}, {sum(held.rows.values())} rows in {len(held.rows)} tables: {each}"
