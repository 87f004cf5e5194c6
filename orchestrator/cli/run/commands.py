"""`hostwright up`, `demo`, `serve` and `worker`."""

import gc
import logging
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Console

from orchestrator.cli.options import GuestKind, Guests, StateDir
from orchestrator.domain.errors import HostwrightError, StoreUnavailable
from orchestrator.settings import Settings, load_settings

app = typer.Typer()
console = Console(highlight=False)

_KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept. Clients and fronts keep theirs for 5 to 60 s and must close first, because a
request that they send while the API closes is lost."""
_GRACEFUL_SECONDS = 15
"""How long an API that ends waits for its open requests. Those that wait for a change are answered at once."""
_UP_CONCURRENCY = 4
"""How many operations `up` runs at once when nothing says how many: one alone would not show a queue at work."""


def _describe(setting: str) -> str:
    """What the setting that an option overrides means."""
    return str(Settings.model_fields[setting].description)


def load_up_settings(**options: Any) -> Settings:
    """Read the settings for `up`, which runs several operations at once when nothing says how many."""
    settings = load_settings(**options)
    known = "concurrency" in settings.model_fields_set
    return settings if known else settings.model_copy(update={"concurrency": _UP_CONCURRENCY})


Concurrency = Annotated[int | None, typer.Option(min=1, max=256, help=_describe("concurrency"))]

Speed = Annotated[float, typer.Option(min=0, max=1000, help="Multiplies the lab's durations; 0 for none.")]


@app.command(rich_help_panel="Run")
def up(
    lab: Annotated[
        bool, typer.Option("--lab", help="Run the lab too, which is a whole data centre on loopback.")
    ] = False,
    state_dir: StateDir = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the API; 0 takes a free one.")] = None,
    speed: Speed = 1.0,
    concurrency: Concurrency = None,
    guests: Guests = GuestKind.PROCESS,
) -> None:
    """Run all parts in the foreground: database, lab, API and one worker."""
    from orchestrator.cli.run.demo import serve_stack

    if not lab:
        raise HostwrightError("only `up --lab` runs everything at once; production runs serve, worker and migrate")
    settings = load_up_settings(state_dir=state_dir, port=port, concurrency=concurrency)
    serve_stack(settings, speed, guests, console, () if port is None else ("port",))


@app.command(rich_help_panel="Run")
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Order, verify, tear down, check that nothing is left, and end.")
    ] = False,
    speed: Speed = 1.0,
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
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on.")] = None,
) -> None:
    """Run the API alone, as production does."""
    import uvicorn

    from orchestrator.api.app import make_app
    from orchestrator.cli.run.listening import find_port
    from orchestrator.cli.run.protocol import BoundedProtocol

    settings = load_settings(host=host, port=port)
    _log_to_stderr()
    find_port(settings, [name for name, value in (("host", host), ("port", port)) if value is not None])
    _require_database(settings)
    application = make_app(settings)
    gc.collect()
    gc.freeze()  # what was made until now stays: the collector need not walk it again and again
    uvicorn.run(
        application,
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # trusted_proxies says whom to believe about a client's address
        http=BoundedProtocol,
        ws="none",
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )


@app.command(rich_help_panel="Run")
def worker(
    concurrency: Concurrency = None,
    threads: Annotated[int | None, typer.Option(min=1, max=256, help=_describe("threads"))] = None,
) -> None:
    """Run one worker alone, as production does."""
    from orchestrator.play.inventory import require_filled
    from orchestrator.worker.loop import Worker

    settings = load_settings(concurrency=concurrency, threads=threads)
    _log_to_stderr()
    require_filled(settings.inventory)
    _require_database(settings)
    Worker(settings).run()


def _require_database(settings: Settings) -> None:
    """Raise ConfigurationError when the database is not of this release. One that is away may come back."""
    from orchestrator.store.embedded import resolve_url
    from orchestrator.store.migrations import require_current

    with suppress(StoreUnavailable):
        require_current(resolve_url(settings))


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("huey").setLevel(logging.WARNING)
    # The pool warns at every failed try to connect. The store itself says when the database is away (store.outage).
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
