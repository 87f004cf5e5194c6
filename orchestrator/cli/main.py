"""The commands of `hostwright`."""

import gc
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.cli.admin import audit, backups, customers, tokens
from orchestrator.cli.client import servers
from orchestrator.cli.options import GuestKind, Guests, StateDir
from orchestrator.domain.errors import HostwrightError
from orchestrator.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Order game servers and dev containers on Proxmox VE, and watch them become reachable.",
)
app.add_typer(servers.app)
app.add_typer(backups.app)
app.add_typer(tokens.app, name="token", rich_help_panel="Administration")
app.add_typer(audit.app, name="audit", rich_help_panel="Administration")
app.add_typer(customers.app, name="customer", rich_help_panel="Administration")

console = Console(highlight=False)

_KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than clients and fronts keep theirs (5 to 60 s), because who closes first
must be the one who would send the next request, or that request is lost in the closing."""
_GRACEFUL_SECONDS = 15
"""How long a leaving API waits for its open requests; who waits for a change is answered at once."""


@app.command(rich_help_panel="Run")
def up(
    lab: Annotated[bool, typer.Option("--lab", help="With the lab: a whole data centre on loopback.")] = False,
    state_dir: StateDir = None,
    port: Annotated[int | None, typer.Option(help="Port of the API; 0 takes a free one.")] = None,
    speed: Annotated[float, typer.Option(min=0, help="Multiplies the lab's durations; 0 for none.")] = 1.0,
    concurrency: Annotated[int, typer.Option(min=1, help="Operations the worker runs at once.")] = 4,
    guests: Guests = GuestKind.PROCESS,
) -> None:
    """Run all parts in the foreground: database, lab, API and one worker."""
    from orchestrator.cli.run.demo import serve_stack

    if not lab:
        raise HostwrightError("only `up --lab` runs everything at once; production runs serve, worker and migrate")
    serve_stack(load_settings(state_dir=state_dir, port=port, concurrency=concurrency), speed, guests, console)


@app.command(rich_help_panel="Run")
def demo(
    once: Annotated[bool, typer.Option("--once", help="Order, verify, tear down, check that nothing is left.")] = False,
    speed: Annotated[float, typer.Option(min=0, help="Multiplies the lab's durations.")] = 1.0,
    state_dir: StateDir = None,
    guests: Guests = GuestKind.PROCESS,
) -> None:
    """Order a game server and a dev container on the lab, and join as a player would."""
    from orchestrator.cli.run.demo import run_demo

    settings = load_settings(state_dir=state_dir, port=0, concurrency=2)
    run_demo(settings, once=once, speed=speed, guests=guests, console=console)


@app.command(rich_help_panel="Run")
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Run the API alone, as production does."""
    import uvicorn

    from orchestrator.api.app import make_app
    from orchestrator.cli.run.protocol import BoundedProtocol

    settings = load_settings(host=host, port=port)
    _log_to_stderr()
    application = make_app(settings)
    gc.collect()
    gc.freeze()  # what start-up made lives for ever: the collector need not walk it for every request
    uvicorn.run(
        application,
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # whom to believe about a client's address is a setting of ours
        http=BoundedProtocol,
        ws="none",
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )


@app.command(rich_help_panel="Run")
def worker(concurrency: Annotated[int | None, typer.Option(min=1, help="Operations at once.")] = None) -> None:
    """Run one worker alone, as production does."""
    from orchestrator.worker.loop import Worker

    _log_to_stderr()
    Worker(load_settings(concurrency=concurrency)).run()


@app.command(rich_help_panel="Administration")
def migrate() -> None:
    """Bring the database's schema up to this release."""
    from orchestrator.store.embedded import resolve_url
    from orchestrator.store.migrations import migrate as run

    applied = run(resolve_url(load_settings()))
    console.print(f"applied: {', '.join(map(str, applied))}" if applied else "the schema is up to date")


@app.command(rich_help_panel="Administration")
def check() -> None:
    """See whether inventory, catalogue and secrets are complete. It asks nobody and changes nothing."""
    from orchestrator.drivers.secrets import read_secrets
    from orchestrator.play.inventory import load_catalogue, problems_of, read_variables, require_filled

    settings = load_settings()
    require_filled(settings.inventory)
    load_catalogue(settings.catalogue_path)
    problems = problems_of(read_variables(settings), read_secrets(settings.secrets_path))
    if problems:
        raise HostwrightError("; ".join(problems))
    console.print(f"{settings.inventory}: inventory, catalogue and secrets are complete", soft_wrap=True)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("huey").setLevel(logging.WARNING)
    # Its warnings are one for every try to connect; the store says itself that the database is away (store.outage).
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def main() -> None:
    """The program: errors of ours are one sentence, exit code 1; Ctrl-C ends with 130."""
    try:
        app()
    except HostwrightError as error:
        Console(stderr=True, highlight=False).print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
