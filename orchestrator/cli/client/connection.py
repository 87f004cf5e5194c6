"""Which API a command speaks to, and the options that say so."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from orchestrator.cli.client.api import Client, read_run_file
from orchestrator.cli.options import StateDir
from orchestrator.settings import load_settings

Url = Annotated[
    str | None, typer.Option(help="The API's address; else the running `hostwright up`.", envvar="HOSTWRIGHT_URL")
]
Token = Annotated[str | None, typer.Option(help="Access token.", envvar="HOSTWRIGHT_TOKEN", show_default=False)]
Operator = Annotated[bool, typer.Option("--operator", help="Use the operator's token of the running `hostwright up`.")]


def connect(url: Url = None, token: Token = None, state_dir: StateDir = None, operator: Operator = False) -> Client:
    """A client with the address and the token that are given, and else those of the running `hostwright up`.

    Raises ConfigurationError when it is needed and not there.
    """
    if url and token:
        return Client(url.rstrip("/"), token)
    run = read_run_file(load_settings(state_dir=state_dir).state_dir)
    return Client((url or run["url"]).rstrip("/"), token or run["operatorToken" if operator else "customerToken"])


def with_client(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `connect` after its own, and call it with the client that they make."""
    options = inspect.signature(connect).parameters
    own = inspect.signature(command)

    @functools.wraps(command)
    def run(**given: Any) -> None:
        client = connect(**{name: given.pop(name) for name in options})
        command(client, **given)

    # Typer reads a command's options from its signature.
    run.__signature__ = own.replace(parameters=[*list(own.parameters.values())[1:], *options.values()])  # type: ignore[attr-defined]
    return run
