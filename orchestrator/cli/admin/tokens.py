"""`hostwright token`: works on the database itself, so that the first token can be made."""

import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.cli.admin.database import note, open_database, read_all
from orchestrator.domain.errors import HostwrightError
from orchestrator.settings import load_settings

if TYPE_CHECKING:
    from orchestrator.domain.models import TokenRow

app = typer.Typer(no_args_is_help=True, help="Access tokens.")
console = Console(highlight=False)

_UNITS = {"m": 60, "h": 3600, "d": 86400}


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the token is for.")],
    customer: Annotated[str | None, typer.Option(help="The customer it belongs to.")] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="Make an operator's token, which sees and changes everything.")
    ] = False,
    expires: Annotated[str | None, typer.Option(help="How long it works, such as 90d, 12h or 30m.")] = None,
) -> None:
    """Make an access token and print it. It is shown only here."""
    if operator == (customer is not None):
        raise HostwrightError("say whose token it is: --customer ID, or --operator")
    from orchestrator.store.accounts import issue_token

    name = _check_name(name)
    expires_at = None if expires is None else datetime.now(UTC) + _duration(expires)
    with open_database(load_settings()) as database:
        row, token = issue_token(database, name=name, customer_id=customer, expires_at=expires_at)
        note(database, "token create", str(row.id))
    print(token)


@app.command("list")
def list_all(
    customer: Annotated[str | None, typer.Option(help="List only this customer's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as the API does.")] = False,
) -> None:
    """List access tokens, newest first. The tokens themselves are not kept."""
    from orchestrator.store.accounts import list_tokens

    with open_database(load_settings()) as database:
        rows = read_all(partial(list_tokens, database, customer_id=customer), lambda row: row.id)
    if as_json:
        from orchestrator.api.tokens import token_answer

        console.print_json(json.dumps([token_answer(row).model_dump(mode="json", by_alias=True) for row in rows]))
    else:
        for row in rows:
            console.print(escape(_describe(row, datetime.now(UTC))), soft_wrap=True)


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(metavar="ID", help="The token's id, as `token list` shows it.")],
) -> None:
    """Revoke an access token. It stops working at once."""
    from orchestrator.store.accounts import revoke_token

    try:
        token_id = UUID(token)
    except ValueError:
        raise HostwrightError("that is not a token's id: `hostwright token list` shows them") from None
    with open_database(load_settings()) as database:
        if not revoke_token(database, token_id):
            raise HostwrightError(f"there is no token {token_id}: `hostwright token list` shows them")
        note(database, "token revoke", str(token_id))
    console.print(f"token {token_id} is revoked")


def _check_name(name: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from orchestrator.domain.accounts import TokenName

    try:
        return TypeAdapter(TokenName).validate_python(name)
    except ValidationError as error:
        raise HostwrightError(f"--name: {error.errors()[0]['msg']}") from error


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text)
    if match is None:
        raise HostwrightError("--expires wants a number with m, h or d, such as 90d")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def _describe(row: "TokenRow", now: datetime) -> str:
    """Describe a token in one line of any width, because an id that is cut off cannot be given to `revoke`."""
    used = (
        f"last used {row.last_used_at:%Y-%m-%d %H:%M} from {row.last_address or '-'}"
        if row.last_used_at
        else "not used"
    )
    return f"{row.id}  {_state(row, now)}  {row.name} of {row.customer_id or 'an operator'}, {used}"


def _state(row: "TokenRow", now: datetime) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is None:
        return "good"
    return "expired" if row.expires_at <= now else f"until {row.expires_at:%Y-%m-%d %H:%M}"
