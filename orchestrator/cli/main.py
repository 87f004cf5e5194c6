"""The commands of `hostwright`."""

import gc
import json
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.cli import audit, customers, tokens
from orchestrator.cli.client import Client, read_run_file
from orchestrator.errors import HostwrightError
from orchestrator.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Order game servers and dev containers on Proxmox VE, and watch them become reachable.",
)
create_app = typer.Typer(no_args_is_help=True, help="Order a server.")
app.add_typer(create_app, name="create", rich_help_panel="Servers")
app.add_typer(tokens.app, name="token", rich_help_panel="Administration")
app.add_typer(audit.app, name="audit", rich_help_panel="Administration")
app.add_typer(customers.app, name="customer", rich_help_panel="Administration")

console = Console(highlight=False)

_KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than clients and fronts keep theirs (5 to 60 s), because who closes first
must be the one who would send the next request, or that request is lost in the closing."""
_GRACEFUL_SECONDS = 15
"""How long a leaving API waits for its open requests; who waits for a change is answered at once."""

StateDir = Annotated[
    Path | None, typer.Option("--state-dir", help="Directory of all local state.", envvar="HOSTWRIGHT_STATE_DIR")
]
Url = Annotated[
    str | None, typer.Option(help="The API's address; else the running `hostwright up`.", envvar="HOSTWRIGHT_URL")
]
Token = Annotated[str | None, typer.Option(help="Access token.", envvar="HOSTWRIGHT_TOKEN", show_default=False)]
Operator = Annotated[bool, typer.Option("--operator", help="Use the operator's token of the running `hostwright up`.")]
Watched = Annotated[bool, typer.Option("--watch", "-w", help="Show the phases live until it is ready.")]
Memory = Annotated[int | None, typer.Option("--memory", help="MiB of memory.")]
Cores = Annotated[int | None, typer.Option("--cores", help="CPU cores.")]
Disk = Annotated[int | None, typer.Option("--disk", help="GiB of disk.")]
Key = Annotated[str | None, typer.Option("--key", help="Idempotency key: the same key never makes two servers.")]
OnFailure = Annotated[
    str | None, typer.Option("--on-failure", help="cleanup (default), or keep: leave a failed machine for a look.")
]
Customer = Annotated[str | None, typer.Option(help="Order for this customer (operators only).")]
Json = Annotated[bool, typer.Option("--json", help="Print the API's answer as JSON.")]


def _client(url: str | None, token: str | None, state_dir: Path | None, operator: bool = False) -> Client:
    if url and token:
        return Client(url.rstrip("/"), token)
    run = read_run_file(load_settings(state_dir=state_dir).state_dir)
    return Client((url or run["url"]).rstrip("/"), token or run["operatorToken" if operator else "customerToken"])


@app.command(rich_help_panel="Run")
def up(
    lab: Annotated[bool, typer.Option("--lab", help="With the lab: a whole data centre on loopback.")] = False,
    state_dir: StateDir = None,
    port: Annotated[int | None, typer.Option(help="Port of the API; 0 takes a free one.")] = None,
    speed: Annotated[float, typer.Option(min=0, help="Multiplies the lab's durations; 0 for none.")] = 1.0,
    concurrency: Annotated[int, typer.Option(min=1, help="Operations the worker runs at once.")] = 4,
) -> None:
    """Run all parts in the foreground: database, lab, API and one worker."""
    from orchestrator.cli.demo import serve_stack

    if not lab:
        raise HostwrightError("only `up --lab` runs everything at once; production runs serve, worker and migrate")
    serve_stack(load_settings(state_dir=state_dir, port=port, concurrency=concurrency), speed, console)


@app.command(rich_help_panel="Run")
def demo(
    once: Annotated[bool, typer.Option("--once", help="Order, verify, tear down, check that nothing is left.")] = False,
    speed: Annotated[float, typer.Option(min=0, help="Multiplies the lab's durations.")] = 1.0,
    state_dir: StateDir = None,
) -> None:
    """Order a game server and a dev container on the lab, and join as a player would."""
    from orchestrator.cli.demo import run_demo

    run_demo(load_settings(state_dir=state_dir, port=0, concurrency=2), once=once, speed=speed, console=console)


@app.command(rich_help_panel="Run")
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Run the API alone, as production does."""
    import uvicorn

    from orchestrator.api.app import make_app
    from orchestrator.cli.protocol import BoundedProtocol

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
    from orchestrator.worker import Worker

    _log_to_stderr()
    Worker(load_settings(concurrency=concurrency)).run()


@app.command(rich_help_panel="Administration")
def migrate() -> None:
    """Bring the database's schema up to this release."""
    from orchestrator.database import resolve_url
    from orchestrator.store.migrations import migrate as run

    applied = run(resolve_url(load_settings()))
    console.print(f"applied: {', '.join(map(str, applied))}" if applied else "the schema is up to date")


@create_app.command("game")
def create_game(
    variant: Annotated[str, typer.Option(help="vanilla, paper, … (see the catalogue)")],
    version: Annotated[str, typer.Option(help="The game's version, such as 1.21.7")],
    game: Annotated[str | None, typer.Option(help="The game; minecraft unless said.")] = None,
    world: Annotated[str | None, typer.Option(help="Name of the world.")] = None,
    memory: Memory = None, cores: Cores = None, disk: Disk = None, key: Key = None, on_failure: OnFailure = None,
    customer: Customer = None, watch: Watched = False, as_json: Json = False,
    url: Url = None, token: Token = None, state_dir: StateDir = None, operator: Operator = False,
) -> None:  # fmt: skip
    """Order a game server."""
    order: dict[str, Any] = {"ctype": "game", "game": game, "variant": variant, "version": version, "world": world}
    order |= {"memoryMiB": memory, "cpuCores": cores, "diskGiB": disk, "onFailure": on_failure, "customerId": customer}
    _order(_client(url, token, state_dir, operator), order, key, watch, as_json)


@create_app.command("dev")
def create_dev(
    runtime: Annotated[str, typer.Option(help="python, node, go, java or dotnet")],
    version: Annotated[str, typer.Option(help="The runtime's version, such as 3.12")],
    code_server: Annotated[bool | None, typer.Option(help="With an editor in the browser.")] = None,
    memory: Memory = None, cores: Cores = None, disk: Disk = None, key: Key = None, on_failure: OnFailure = None,
    customer: Customer = None, watch: Watched = False, as_json: Json = False,
    url: Url = None, token: Token = None, state_dir: StateDir = None, operator: Operator = False,
) -> None:  # fmt: skip
    """Order a dev container."""
    order: dict[str, Any] = {"ctype": "dev", "runtime": runtime, "version": version, "enableCodeServer": code_server}
    order |= {"memoryMiB": memory, "cpuCores": cores, "diskGiB": disk, "onFailure": on_failure, "customerId": customer}
    _order(_client(url, token, state_dir, operator), order, key, watch, as_json)


def _order(client: Client, order: dict[str, Any], key: str | None, watch: bool, as_json: bool) -> None:
    body = {name: value for name, value in order.items() if value is not None}
    accepted = client.request("POST", "/api/instances", body=body, headers={"Idempotency-Key": key} if key else {})
    _accepted(client, accepted, watch, as_json)


@app.command("list", rich_help_panel="Servers")
def list_servers(
    leaked: Annotated[bool, typer.Option("--leaked", help="Only those of which something was left behind.")] = False,
    as_json: Json = False, url: Url = None, token: Token = None, state_dir: StateDir = None, operator: Operator = False,
) -> None:  # fmt: skip
    """List servers."""
    from orchestrator.cli.display import instances_table

    client = _client(url, token, state_dir, operator)
    instances: list[dict[str, Any]] = []
    after = ""
    while True:
        page = client.request("GET", f"/api/instances?limit=200{'&leaked=true' if leaked else ''}{after}")
        instances += page["instances"]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    if as_json:
        console.print_json(json.dumps(instances))
    elif instances:
        console.print(instances_table(instances))
    elif leaked:
        console.print("nothing was left behind")
    else:
        console.print("no servers yet: `hostwright create game --variant vanilla --version 1.21.7 --watch`")


@app.command(rich_help_panel="Servers")
def show(
    server: Annotated[str, typer.Argument(help="Server id or VMID.")],
    url: Url = None, token: Token = None, state_dir: StateDir = None, operator: Operator = False,
) -> None:  # fmt: skip
    """Show one server."""
    found = _client(url, token, state_dir, operator).request("GET", f"/api/instances/{server}")
    console.print_json(json.dumps(found))


@app.command(rich_help_panel="Servers")
def watch(
    operation: Annotated[str, typer.Argument(help="Operation id, as the order printed it.")],
    url: Url = None, token: Token = None, state_dir: StateDir = None, operator: Operator = False,
) -> None:  # fmt: skip
    """Show an operation's phases live until it ends."""
    _follow(_client(url, token, state_dir, operator), operation)


@app.command(rich_help_panel="Servers")
def delete(
    server: Annotated[str, typer.Argument(help="Server id or VMID.")],
    watch: Watched = False, as_json: Json = False,
    url: Url = None, token: Token = None, state_dir: StateDir = None, operator: Operator = False,
) -> None:  # fmt: skip
    """Delete a server, its DNS records and its place at the proxy."""
    client = _client(url, token, state_dir, operator)
    _accepted(client, client.request("DELETE", f"/api/instances/{server}"), watch, as_json)


@app.command(rich_help_panel="Servers")
def start(
    server: Annotated[str, typer.Argument(help="Server id or VMID.")],
    watch: Watched = False, as_json: Json = False,
    url: Url = None, token: Token = None, state_dir: StateDir = None, operator: Operator = False,
) -> None:  # fmt: skip
    """Start a stopped server and publish it again."""
    client = _client(url, token, state_dir, operator)
    _accepted(client, client.request("POST", f"/api/instances/{server}/start"), watch, as_json)


@app.command(rich_help_panel="Servers")
def stop(
    server: Annotated[str, typer.Argument(help="Server id or VMID.")],
    watch: Watched = False, as_json: Json = False,
    url: Url = None, token: Token = None, state_dir: StateDir = None, operator: Operator = False,
) -> None:  # fmt: skip
    """Take a server off the edge and stop it."""
    client = _client(url, token, state_dir, operator)
    _accepted(client, client.request("POST", f"/api/instances/{server}/stop"), watch, as_json)


@app.command(rich_help_panel="Servers")
def cancel(
    operation: Annotated[str, typer.Argument(help="Operation id, as the order printed it.")],
    watch: Watched = False, as_json: Json = False,
    url: Url = None, token: Token = None, state_dir: StateDir = None, operator: Operator = False,
) -> None:  # fmt: skip
    """Cancel an order or a start, and undo what it made."""
    client = _client(url, token, state_dir, operator)
    path = f"/api/instances/operations/{operation}/cancel"
    _accepted(client, client.request("POST", path), watch, as_json, wanted="cancelled")


@app.command(rich_help_panel="Servers")
def retry(
    operation: Annotated[str, typer.Argument(help="Operation id of the failed order.")],
    watch: Watched = False, as_json: Json = False,
    url: Url = None, token: Token = None, state_dir: StateDir = None, operator: Operator = False,
) -> None:  # fmt: skip
    """Take a failed order up again at its failed phase, on the machine that was kept."""
    client = _client(url, token, state_dir, operator)
    path = f"/api/instances/operations/{operation}/retry"
    _accepted(client, client.request("POST", path), watch, as_json)


@app.command(rich_help_panel="Servers")
def logs(
    operation: Annotated[str, typer.Argument(help="Operation id, as the order printed it.")],
    url: Url = None, token: Token = None, state_dir: StateDir = None, operator: Operator = False,
) -> None:  # fmt: skip
    """Print an operation's log."""
    client = _client(url, token, state_dir, operator)
    after = 0
    while True:
        page = client.request("GET", f"/api/instances/operations/{operation}/events?after={after}")
        for line in page["events"]:
            style = {"error": "red", "warning": "yellow"}.get(line["level"], "")
            console.print(f"{line['at'][11:23]}  {line['phase'] or '-':30}  ", end="", markup=False)
            console.print(escape(line["message"]), style=style)
        if not page["events"]:
            return
        after = page["next"]


def _accepted(
    client: Client, accepted: dict[str, Any], watch: bool, as_json: bool, *, wanted: str = "succeeded"
) -> None:
    if as_json:
        console.print_json(json.dumps(accepted))
    elif not watch:
        console.print(f"accepted: server {accepted['serverId']}")
        console.print(f"watch it: hostwright watch {accepted['operationId']}")
    if watch:
        _follow(client, accepted["operationId"], wanted)


def _follow(client: Client, operation_id: str, wanted: str = "succeeded") -> None:
    from orchestrator.cli.display import Watch

    if Watch(client, console).follow([operation_id])[0]["status"] != wanted:
        raise typer.Exit(1)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("huey").setLevel(logging.WARNING)


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
