"""`hostwright migrate` and `hostwright check`, which are run before API and worker start."""

import typer
from rich.console import Console

from orchestrator.domain.errors import ConfigurationError, HostwrightError
from orchestrator.settings import Settings, load_settings

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
    settings = load_settings()
    problems = [problem for look in (_check_site, _check_database) for problem in look(settings)]
    if problems:
        raise ConfigurationError("\n".join(problems))
    console.print(f"{settings.inventory}: inventory, catalogue and secrets are complete", soft_wrap=True)


def _check_site(settings: Settings) -> list[str]:
    """Return a sentence for each thing that inventory, catalogue or secrets lack."""
    from orchestrator.drivers.secrets import read_secrets
    from orchestrator.play.inventory import find_problems, load_catalogue, read_hosts, read_variables, require_filled

    try:
        require_filled(settings.inventory)
        load_catalogue(settings.catalogue_path)
        return find_problems(read_variables(settings), read_secrets(settings.secrets_path), read_hosts(settings))
    except HostwrightError as error:
        return [str(error)]


def _check_database(settings: Settings) -> list[str]:
    """Return why the database that is named cannot be used, if it cannot."""
    from orchestrator.store.connection import connect
    from orchestrator.store.embedded import resolve_url
    from orchestrator.store.sessions import require_own_session

    if settings.database_url is None:
        return []
    try:
        with connect(url := resolve_url(settings)) as connection:
            require_own_session(url, connection)
    except HostwrightError as error:
        return [str(error)]
    return []
