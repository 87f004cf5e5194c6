"""`hostwright audit`: who asked to change what."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.cli.admin.database import note, open_database
from orchestrator.cli.printing import print_json
from orchestrator.settings import load_settings

if TYPE_CHECKING:
    from orchestrator.domain.models import AuditRow

app = typer.Typer(no_args_is_help=True, help="Who asked to change what, and what came of it.")
console = Console(highlight=False)


@app.command("list")
def list_all(
    customer: Annotated[
        str | None, typer.Option(help="Show only what this customer's tokens did, and what was done about it.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many lines.")] = 50,
    after: Annotated[int | None, typer.Option(help="Show lines that are older than the one of this number.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """Show the log, newest first."""
    from orchestrator.store import audit

    with open_database(load_settings()) as database:
        rows = audit.list_entries(database, customer_id=customer, after=after, limit=limit)
    if as_json:
        print_json([row.model_dump(mode="json") for row in rows])
    else:
        for row in rows:
            console.print(escape(_describe(row)), soft_wrap=True)


@app.command()
def prune(
    before: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The first day that is kept (UTC).")],
) -> None:
    """Delete old lines. There is no other way to delete any, and the log notes it."""
    from orchestrator.store import audit

    with open_database(load_settings()) as database:
        count = audit.prune(database, before.replace(tzinfo=UTC))
        note(database, "audit prune", f"{before:%Y-%m-%d}")
    console.print(f"{count} lines are forgotten")


def _describe(row: "AuditRow") -> str:
    """Show an entry in one line of any width, because a route that is cut off says nothing."""
    who = f"{row.principal} of {row.customer_id}" if row.customer_id else row.principal
    outcome = " ".join(str(part) for part in (row.status, row.code) if part is not None) or "done"
    at = f"{row.at:%Y-%m-%d %H:%M:%S}"
    return f"{row.seq:>6}  {at}  {row.method} {row.route}  {row.target}  {outcome}  by {who} from {row.address or '-'}"
