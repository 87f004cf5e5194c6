"""The connection to the API: the options that say where it is, given once for all commands."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from orchestrator.cli.client.api import Client, read_run_file
from orchestrator.cli.options import StateDir
from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings import load_settings

Url = Annotated[
    str | None,
    typer.Option(help="The API's address; by default that of the running `hostwright up`.", envvar="HOSTWRIGHT_URL"),
]
Token = Annotated[str | None, typer.Option(help="Access token.", envvar="HOSTWRIGHT_TOKEN", show_default=False)]
Operator = Annotated[bool, typer.Option("--operator", help="Use the operator's token of the running `hostwright up`.")]


def connect(url: Url = None, token: Token = None, state_dir: StateDir = None, operator: Operator = False) -> Client:
    """Make a client. An address or token that is not given is that of the running `hostwright up`.

    Raises ConfigurationError when nothing runs, or when its token would go to another address.
    """
    if token and operator:
        raise ConfigurationError(
            "--operator takes the token of the running `hostwright up`, but a token is given: "
            "leave out --token and HOSTWRIGHT_TOKEN, or give an operator's token there without --operator"
        )
    if url and token:
        return Client(url.rstrip("/"), token)
    run = read_run_file(load_settings(state_dir=state_dir).state_dir)
    here = run["url"].rstrip("/")
    if token:
        return Client(here, token)
    if url and url.rstrip("/") != here:
        raise ConfigurationError(
            f"there is no token for {url}: give one with --token or HOSTWRIGHT_TOKEN; "
            f"the running `hostwright up` answers at {here}"
        )
    return Client(here, run["operatorToken" if operator else "customerToken"])


def with_client(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `connect` to those of a command, which gets the client as its first argument instead."""
    options = inspect.signature(connect).parameters
    own = inspect.signature(command)

    @functools.wraps(command)
    def run(**given: Any) -> None:
        client = connect(**{name: given.pop(name) for name in options})
        command(client, **given)

    # Typer reads the options of a command from its signature.
    run.__signature__ = own.replace(parameters=[*list(own.parameters.values())[1:], *options.values()])  # type: ignore[attr-defined]
    return run
