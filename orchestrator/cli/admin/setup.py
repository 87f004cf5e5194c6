"""`hostwright migrate` and `hostwright check`, which are run before API and worker start."""

import typer
from rich.console import Console

from orchestrator.domain.errors import HostwrightError
from orchestrator.settings import load_settings

app = typer.Typer()
console = Console(highlight=False)


@app.command(rich_help_panel="Administration")
def migrate() -> None:
    """Migrate the database's schema to this release."""
    from orchestrator.store.embedded import resolve_url
    from orchestrator.store.migrations import migrate as run

    applied = run(resolve_url(load_settings()))
    console.print(f"applied: {', '.join(map(str, applied))}" if applied else "the schema is up to date")


@app.command(rich_help_panel="Administration")
def check() -> None:
    """Check inventory, catalogue and secrets, and the database if one is named. It changes nothing."""
    from orchestrator.drivers.secrets import read_secrets
    from orchestrator.play.inventory import find_problems, load_catalogue, read_hosts, read_variables, require_filled
    from orchestrator.store.connection import connect
    from orchestrator.store.embedded import resolve_url
    from orchestrator.store.sessions import require_own_session

    settings = load_settings()
    if settings.database_url is not None:
        with connect(url := resolve_url(settings)) as connection:
            require_own_session(url, connection)
    require_filled(settings.inventory)
    load_catalogue(settings.catalogue_path)
    problems = find_problems(read_variables(settings), read_secrets(settings.secrets_path), read_hosts(settings))
    if problems:
        raise HostwrightError("\n".join(problems))
    console.print(f"{settings.inventory}: inventory, catalogue and secrets are complete", soft_wrap=True)
