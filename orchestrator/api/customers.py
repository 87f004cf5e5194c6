"""Customers, for operators: their limits, their usage and their billing state."""

from datetime import datetime
from functools import partial
from typing import Annotated, get_args

from pydantic import Field
from starlette.responses import Response

from orchestrator.api.http.answers import Answer, answer
from orchestrator.api.http.bodies import RequestBody, parse_body
from orchestrator.api.http.call import Call
from orchestrator.api.http.endpoint import BODY_PROBLEMS, OPERATOR_PROBLEMS, Endpoint
from orchestrator.api.http.pages import Pages
from orchestrator.api.http.parameters import AFTER_CUSTOMER, CUSTOMER_ID, CUSTOMER_IN_PATH
from orchestrator.api.http.problems import invalid, not_found
from orchestrator.domain.accounts import Limit
from orchestrator.domain.billing import BillingState
from orchestrator.domain.catalogue import ContainerType
from orchestrator.domain.errors import ProblemCode
from orchestrator.domain.models import BillingStateRead, CustomerRow, Limits, Usage
from orchestrator.store import accounts

PAGES = Pages(AFTER_CUSTOMER)


class CtypeLimits(RequestBody):
    """A customer's limits for one container type, all of them: one that is left out or null is no limit."""

    instances: Limit | None = None
    """The most instances."""
    memory_mib: Limit | None = None
    """The most memory in MiB."""
    cpu_cores: Limit | None = None
    """The most CPU cores."""


class CustomerLimits(RequestBody):
    """Limits in total and for each container type. What is left out stays as it is."""

    instances: Limit | None = None
    """The most instances."""
    memory_mib: Limit | None = None
    """The most memory in MiB."""
    cpu_cores: Limit | None = None
    """The most CPU cores."""
    game: CtypeLimits | None = None
    """The limits of game servers alone."""
    dev: CtypeLimits | None = None
    """The limits of dev containers alone."""


class CustomerChange(RequestBody):
    """What to set. What is left out stays as it is."""

    billing_state: Annotated[BillingState, Field(strict=False)] | None = None
    """What the customer may do."""
    limits: CustomerLimits | None = None
    """The limits to set."""


class LimitsAnswer(Answer):
    """Limits. Null is no limit."""

    instances: int | None
    """The most instances."""
    memory_mib: int | None = Field(alias="memoryMiB")
    """The most memory in MiB."""
    cpu_cores: int | None
    """The most CPU cores."""


class UsageAnswer(Answer):
    """What counts against the limits."""

    instances: int
    """How many instances."""
    memory_mib: int = Field(alias="memoryMiB")
    """How much memory in MiB."""
    cpu_cores: int
    """How many CPU cores."""


class AllLimits(LimitsAnswer):
    """Limits in total and for each container type."""

    game: LimitsAnswer
    """The limits of game servers alone."""
    dev: LimitsAnswer
    """The limits of dev containers alone."""


class AllUsage(UsageAnswer):
    """What counts in total and for each container type."""

    game: UsageAnswer
    """What counts of game servers alone."""
    dev: UsageAnswer
    """What counts of dev containers alone."""


class CustomerAnswer(Answer):
    """A customer with its limits and what it has."""

    customer_id: str
    """The id of the customer."""
    billing_state: BillingStateRead
    """What it may do."""
    created_at: datetime
    """When it was made."""
    limits: AllLimits
    """The most that it may have."""
    usage: AllUsage
    """What it has of that."""


class CustomerPage(Answer):
    """Customers by id; `next` is the `after` of the next page."""

    customers: list[CustomerAnswer]
    """The customers of the page."""
    next: str | None
    """The `after` of the next page; null on the last."""


def list_all(call: Call) -> Response:
    """List the customers by id."""
    rows, following = PAGES.read(call, partial(accounts.list_customers, call.parts.database), lambda row: row.id)
    return answer(CustomerPage(customers=[customer_answer(row) for row in rows], next=following))


def show(call: Call) -> Response:
    """Show one customer."""
    return answer(_get(call, call.read(CUSTOMER_IN_PATH)))


def put(call: Call) -> Response:
    """Make a customer, or set what is given of a known one."""
    customer_id = call.read(CUSTOMER_IN_PATH)
    if not CUSTOMER_ID.fullmatch(customer_id):
        detail = "must be lower-case letters, digits and -, at most 63, and not begin with -"
        invalid([{"parameter": "customerId", "detail": detail}])
    change = parse_body(CustomerChange, call.body)
    limits = change.limits or CustomerLimits()
    own: dict[ContainerType, CtypeLimits | None] = {"game": limits.game, "dev": limits.dev}
    accounts.update_customer(
        call.parts.database,
        customer_id,
        billing_state=change.billing_state,
        max_instances=limits.instances,
        max_memory_mib=limits.memory_mib,
        max_cpu_cores=limits.cpu_cores,
        quotas={ctype: Limits(**each.model_dump()) for ctype, each in own.items() if each is not None},
        make=True,
    )
    return answer(_get(call, customer_id))


def _get(call: Call, customer_id: str) -> CustomerAnswer:
    row = accounts.get_customer(call.parts.database, customer_id) if CUSTOMER_ID.fullmatch(customer_id) else None
    if row is None:
        raise not_found()
    return customer_answer(row)


def customer_answer(row: CustomerRow) -> CustomerAnswer:
    """Turn a customer's row into its answer."""
    limits, used = row.limits.model_dump(), row.used.model_dump()
    for ctype in get_args(ContainerType):
        limits[ctype] = row.ctype_limits.get(ctype, Limits()).model_dump()
        used[ctype] = row.ctype_used.get(ctype, Usage()).model_dump()
    return CustomerAnswer.of(row, customer_id=row.id, limits=limits, usage=used)


ENDPOINTS = (
    Endpoint(
        "GET", "/customers", "listCustomers", list_all, "List customers", operator=True,
        result=CustomerPage, parameters=PAGES.parameters, problems=OPERATOR_PROBLEMS,
    ),
    Endpoint(
        "GET", "/customers/{customer_id}", "showCustomer", show,
        "Show a customer", operator=True, result=CustomerAnswer,
        parameters=(CUSTOMER_IN_PATH,), problems=(ProblemCode.FORBIDDEN, ProblemCode.NOT_FOUND),
    ),
    Endpoint(
        "PUT", "/customers/{customer_id}", "putCustomer", put, "Make a customer, or set its billing state and limits",
        operator=True, result=CustomerAnswer, body=(CustomerChange,),
        parameters=(CUSTOMER_IN_PATH,), problems=(ProblemCode.FORBIDDEN, *BODY_PROBLEMS),
    ),
)  # fmt: skip
