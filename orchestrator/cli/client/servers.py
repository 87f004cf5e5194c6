"""`hostwright create`, `list`, `watch` and the other commands of customers, over the API."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.cli.client.api import Client, Refused
from orchestrator.cli.client.connection import with_client
from orchestrator.cli.options import Cores, Customer, Disk, Json, Key, Memory, OnFailure, Watched
from orchestrator.cli.printing import print_json, spell_command

app = typer.Typer()
create_app = typer.Typer(no_args_is_help=True, help="Order a server.")
app.add_typer(create_app, name="create", rich_help_panel="Servers")
console = Console(highlight=False)

OperationArgument = Annotated[
    str,
    typer.Argument(
        help="Operation id, as the order printed it, or the id, VMID or host name of a server for its newest operation."
    ),
]
ServerArgument = Annotated[str, typer.Argument(help="Server id, VMID or host name.")]


@create_app.command("game")
@with_client
def create_game(
    client: Client,
    variant: Annotated[str, typer.Option(help="The variant, such as vanilla or paper (see the catalogue).")],
    version: Annotated[str, typer.Option(help="The game's version, such as 1.21.7.")],
    game: Annotated[str | None, typer.Option(help="The game; minecraft by default.")] = None,
    world: Annotated[str | None, typer.Option(help="Name of the world.")] = None,
    memory: Memory = None, cores: Cores = None, disk: Disk = None, key: Key = None, on_failure: OnFailure = None,
    customer: Customer = None, watch: Watched = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Order a game server."""
    order: dict[str, Any] = {"ctype": "game", "game": game, "variant": variant, "version": version, "world": world}
    order |= {"memoryMiB": memory, "cpuCores": cores, "diskGiB": disk, "onFailure": on_failure, "customerId": customer}
    _order(client, order, key, watch, as_json)


@create_app.command("dev")
@with_client
def create_dev(
    client: Client,
    runtime: Annotated[str, typer.Option(help="The runtime: python, node, go, java or dotnet.")],
    version: Annotated[str, typer.Option(help="The runtime's version, such as 3.12.")],
    code_server: Annotated[bool | None, typer.Option(help="With an editor in the browser.")] = None,
    memory: Memory = None, cores: Cores = None, disk: Disk = None, key: Key = None, on_failure: OnFailure = None,
    customer: Customer = None, watch: Watched = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Order a dev container."""
    order: dict[str, Any] = {"ctype": "dev", "runtime": runtime, "version": version, "enableCodeServer": code_server}
    order |= {"memoryMiB": memory, "cpuCores": cores, "diskGiB": disk, "onFailure": on_failure, "customerId": customer}
    _order(client, order, key, watch, as_json)


def _order(client: Client, order: dict[str, Any], key: str | None, watch: bool, as_json: bool) -> None:
    body = {name: value for name, value in order.items() if value is not None}
    _accepted(client, client.order(body, key), watch, as_json)


@app.command("list", rich_help_panel="Servers")
@with_client
def list_servers(
    client: Client,
    leaked: Annotated[
        bool,
        typer.Option(
            "--leaked", help="List only servers of which something was left behind, or whose deletion or stop fails."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """List servers."""
    from orchestrator.cli.client.display import instances_table, print_whole

    instances = list(client.pages(f"/api/instances?limit=200{'&leaked=true' if leaked else ''}", "instances"))
    if as_json:
        print_json(instances)
    elif instances:
        print_whole(console, instances_table(instances, customers=_is_operator(client)))
    elif leaked:
        console.print("nothing was left behind, and nothing keeps failing")
    else:
        order = spell_command("create", "game", "--variant", "vanilla", "--version", "1.21.7", "--watch")
        console.print(f"no servers yet: `{escape(order)}`", soft_wrap=True)


def _is_operator(client: Client) -> bool:
    """Return whether the token is an operator's. Only operators may list customers."""
    try:
        client.request("GET", "/api/customers?limit=1")
    except Refused as refused:
        if refused.code == "forbidden":
            return False
        raise
    return True


@app.command(rich_help_panel="Servers")
@with_client
def show(client: Client, server: ServerArgument, as_json: Json = False) -> None:
    """Show one server, and how it is reached."""
    from orchestrator.cli.client.facts import describe_instance

    found = client.request("GET", f"/api/instances/{client.server_id(server)}")
    if as_json:
        print_json(found)
        return
    for name, value in describe_instance(found):
        console.print(f"{name:12} {value}", markup=False, soft_wrap=True)


@app.command(rich_help_panel="Servers")
@with_client
def watch(client: Client, operation: OperationArgument, as_json: Json = False) -> None:
    """Show an operation's phases live until it ends."""
    _follow(client, client.operation_id(operation), as_json)


@app.command(rich_help_panel="Servers")
@with_client
def delete(client: Client, server: ServerArgument, watch: Watched = False, as_json: Json = False) -> None:
    """Delete a server, its DNS records and its place at the proxy."""
    _change(client, "DELETE", f"/api/instances/{client.server_id(server)}", watch, as_json)


@app.command(rich_help_panel="Servers")
@with_client
def start(client: Client, server: ServerArgument, watch: Watched = False, as_json: Json = False) -> None:
    """Start a stopped server and publish it again."""
    _change(client, "POST", f"/api/instances/{client.server_id(server)}/start", watch, as_json)


@app.command(rich_help_panel="Servers")
@with_client
def stop(client: Client, server: ServerArgument, watch: Watched = False, as_json: Json = False) -> None:
    """Take a server off the edge and stop it."""
    _change(client, "POST", f"/api/instances/{client.server_id(server)}/stop", watch, as_json)


@app.command(rich_help_panel="Servers")
@with_client
def cancel(client: Client, operation: OperationArgument, watch: Watched = False, as_json: Json = False) -> None:
    """Cancel an order or a start, and undo what it made."""
    path = f"/api/instances/operations/{client.operation_id(operation)}/cancel"
    _change(client, "POST", path, watch, as_json, wanted="cancelled")


@app.command(rich_help_panel="Servers")
@with_client
def retry(client: Client, operation: OperationArgument, watch: Watched = False, as_json: Json = False) -> None:
    """Take a failed order up again at the phase that failed, on the machine that was kept."""
    path = f"/api/instances/operations/{client.operation_id(operation, 'provision')}/retry"
    _change(client, "POST", path, watch, as_json)


@app.command(rich_help_panel="Servers")
@with_client
def logs(client: Client, operation: OperationArgument) -> None:
    """Print an operation's log."""
    operation_id, after = client.operation_id(operation), 0
    while True:
        page = client.request("GET", f"/api/instances/operations/{operation_id}/events?after={after}")
        for line in page["events"]:
            style = {"error": "red", "warning": "yellow"}.get(line["level"], "")
            console.print(f"{line['at'][11:23]}  {line['phase'] or '-':30}  ", end="", markup=False)
            console.print(escape(line["message"]), style=style, soft_wrap=True)
        if not page["events"]:
            return
        after = page["next"]


def _change(client: Client, method: str, path: str, watch: bool, as_json: bool, *, wanted: str = "succeeded") -> None:
    _accepted(client, client.request(method, path), watch, as_json, wanted=wanted)


def _accepted(
    client: Client, accepted: dict[str, Any], watch: bool, as_json: bool, *, wanted: str = "succeeded"
) -> None:
    if as_json:
        print_json(accepted, line=watch)
    elif not watch:
        console.print(f"accepted: server {accepted['serverId']}")
        console.print(f"watch it: {escape(spell_command('watch', accepted['operationId']))}", soft_wrap=True)
    if watch:
        _follow(client, accepted["operationId"], as_json, wanted)


def _follow(client: Client, operation_id: str, as_json: bool, wanted: str = "succeeded") -> None:
    from orchestrator.cli.client.display import Watch
    from orchestrator.cli.client.facts import describe_reach

    try:
        (operation,) = Watch(client, console, as_json=as_json).follow([operation_id])
    except KeyboardInterrupt:
        goes_on = f"the order goes on: hostwright watch {operation_id}"
        (Console(stderr=True) if as_json else console).print(goes_on, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None
    if operation["status"] != wanted:
        raise typer.Exit(1)
    if not as_json and wanted == "succeeded" and operation["kind"] in ("provision", "start"):
        for name, value in describe_reach(client.request("GET", f"/api/instances/{operation['serverId']}")):
            console.print(f"{name}: {value}", markup=False, soft_wrap=True)
