"""`hostwright backup` and `hostwright restore`: the database in a file, and back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.cli.admin.database import note, open_database
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
    """Write the database into a file, and read it back. API and workers may go on."""
    from orchestrator.store.backups import back_up
    from orchestrator.store.embedded import resolve_url

    settings = load_settings()
    held = back_up(resolve_url(settings), file, force=force)
    with open_database(settings) as database:
        note(database, "backup", str(file))
    console.print(f"{escape(str(file))}: {_described(held)}", soft_wrap=True)


@app.command(rich_help_panel="Administration")
def restore(
    file: File,
    replace: Annotated[bool, typer.Option("--replace", help="Give up what the database holds now.")] = False,
) -> None:
    """Load such a file into an empty database, and bring it up to this release. API and workers must be stopped."""
    from orchestrator.store.backups import restore as run
    from orchestrator.store.embedded import resolve_url

    settings = load_settings()
    restored = run(resolve_url(settings), file, replace=replace)
    with open_database(settings) as database:
        note(database, "restore", str(file))
    migrated = f"; applied: {', '.join(map(str, restored.migrated))}" if restored.migrated else ""
    console.print(f"restored {_described(restored.contents)}{migrated}", soft_wrap=True)


def _described(held: "Contents") -> str:
    """`schema 4, 123 rows in 16 tables: instance 2, …`."""
    each = ", ".join(f"{name} {count}" for name, count in held.rows.items() if count)
    return f"schema {max(held.migrations)}, {sum(held.rows.values())} rows in {len(held.rows)} tables: {each}"
