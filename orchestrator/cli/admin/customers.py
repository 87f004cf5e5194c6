"""`hostwright customer`: works on the database itself, so that it needs no running API."""

import json
from functools import partial
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.cli.admin.database import note, open_database, read_all
from orchestrator.cli.client.display import print_whole
from orchestrator.domain.accounts import MAX_LIMIT
from orchestrator.domain.billing import BillingState
from orchestrator.domain.catalogue import ContainerType
from orchestrator.domain.errors import HostwrightError
from orchestrator.settings import load_settings

if TYPE_CHECKING:
    from orchestrator.domain.models import CustomerRow, Limits, Usage

app = typer.Typer(no_args_is_help=True, help="Customers and their limits.")
console = Console(highlight=False)

Customer = Annotated[str, typer.Argument(help="The customer's id.")]
Json = Annotated[bool, typer.Option("--json", help="Print it as the API does.")]


@app.command("set")
def set_customer(
    customer: Annotated[str, typer.Argument(help="The id of the customer, which is made if it is new.")],
    billing: Annotated[BillingState | None, typer.Option(help="Billing state.")] = None,
    instances: Annotated[int | None, typer.Option(min=0, max=MAX_LIMIT, help="The most instances.")] = None,
    memory: Annotated[int | None, typer.Option(min=0, max=MAX_LIMIT, help="The most MiB of memory in total.")] = None,
    cores: Annotated[int | None, typer.Option(min=0, max=MAX_LIMIT, help="The most CPU cores in total.")] = None,
    game: Annotated[
        str | None,
        typer.Option(metavar="INSTANCES,MEMORY,CORES", help="Limits of game servers alone; - is no limit."),
    ] = None,
    dev: Annotated[
        str | None,
        typer.Option(metavar="INSTANCES,MEMORY,CORES", help="Limits of dev containers alone; - is no limit."),
    ] = None,
) -> None:
    """Make a customer, or set its billing state and limits."""
    from orchestrator.store import accounts

    own: dict[ContainerType, Limits | None] = {
        "game": _parse_limits("--game", game),
        "dev": _parse_limits("--dev", dev),
    }
    with open_database(load_settings()) as database:
        accounts.update_customer(
            database,
            customer,
            billing_state=billing,
            max_instances=instances,
            max_memory_mib=memory,
            max_cpu_cores=cores,
            quotas={ctype: limits for ctype, limits in own.items() if limits is not None},
            make=True,
        )
        note(database, "customer set", customer)
    console.print(f"customer {customer} is set")


@app.command()
def suspend(customer: Customer) -> None:
    """Suspend a customer: its servers are stopped, and it may only read."""
    _set_state(customer, BillingState.SUSPENDED, "suspend")


@app.command()
def activate(customer: Customer) -> None:
    """Make a customer active again. Its servers stay stopped until it starts them."""
    _set_state(customer, BillingState.ACTIVE, "activate")


@app.command()
def show(customer: Customer, as_json: Json = False) -> None:
    """Show a customer: its billing state, its limits and what it uses."""
    from orchestrator.store import accounts

    with open_database(load_settings()) as database:
        row = accounts.get_customer(database, customer)
    if row is None:
        raise _unknown(customer)
    if as_json:
        console.print_json(json.dumps(_as_json(row)))
    else:
        console.print(f"{row.id}  {row.billing_state}  since {row.created_at:%Y-%m-%d}")
        print_whole(console, _use_table(row))


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List customers."""
    from orchestrator.store import accounts

    with open_database(load_settings()) as database:
        rows = read_all(partial(accounts.list_customers, database), lambda row: row.id)
    if as_json:
        console.print_json(json.dumps([_as_json(row) for row in rows]))
    elif rows:
        print_whole(console, _table(rows))
    else:
        console.print("no customers yet: `hostwright customer set acme --instances 10`")


def _parse_limits(option: str, text: str | None) -> "Limits | None":
    from orchestrator.domain.models import Limits

    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 3 or not all(map(_is_limit, parts)):
        raise HostwrightError(
            f"{option} wants INSTANCES,MEMORY,CORES, each - or a number up to {MAX_LIMIT}, such as 5,-,20"
        )
    instances, memory, cores = (None if part == "-" else int(part) for part in parts)
    return Limits(instances=instances, memory_mib=memory, cpu_cores=cores)


def _is_limit(text: str) -> bool:
    digits = text.isdecimal() and len(text) <= len(str(MAX_LIMIT))
    return text == "-" or (digits and int(text) <= MAX_LIMIT)


def _set_state(customer: str, state: BillingState, command: str) -> None:
    from orchestrator.store import accounts

    with open_database(load_settings()) as database:
        if not accounts.update_customer(database, customer, billing_state=state):
            raise _unknown(customer)
        note(database, f"customer {command}", customer)
    console.print(f"customer {customer} is {state}")


def _unknown(customer: str) -> HostwrightError:
    return HostwrightError(f"there is no customer {customer}: `hostwright customer set` makes one")


def _as_json(row: "CustomerRow") -> object:
    from orchestrator.api.customers import customer_answer

    return customer_answer(row).model_dump(mode="json", by_alias=True)


def _table(rows: "list[CustomerRow]") -> Table:
    table = Table("customer", "billing", "instances", "memory MiB", "cores", header_style="bold", box=None)
    for row in rows:
        table.add_row(row.id, row.billing_state, *_amounts(row.used, row.limits))
    return table


def _use_table(row: "CustomerRow") -> Table:
    from orchestrator.domain.models import Limits, Usage

    table = Table("", "instances", "memory MiB", "cores", header_style="bold", box=None)
    table.add_row("in all", *_amounts(row.used, row.limits))
    for ctype in get_args(ContainerType):
        table.add_row(ctype, *_amounts(row.ctype_used.get(ctype, Usage()), row.ctype_limits.get(ctype, Limits())))
    return table


def _amounts(used: "Usage", limits: "Limits") -> list[str]:
    pairs = zip(used.model_dump().values(), limits.model_dump().values(), strict=True)
    return [f"{have} of {most}" if most is not None else str(have) for have, most in pairs]
