"""`hostwright token`: on the database itself, so that the first one can be made."""

from typing import Annotated

import typer

from orchestrator.cli.admin import open_database
from orchestrator.errors import HostwrightError
from orchestrator.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Access tokens.")


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the token is for.")],
    customer: Annotated[str | None, typer.Option(help="The customer it belongs to.")] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="An operator's: it sees and changes everything.")
    ] = False,
) -> None:
    """Make an access token and print it, this once."""
    if operator == (customer is not None):
        raise HostwrightError("say whose token it is: --customer ID, or --operator")
    from orchestrator.store.accounts import create_token

    with open_database(load_settings()) as database:
        print(create_token(database, name=name, customer_id=customer))
