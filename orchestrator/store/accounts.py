"""Customers, tokens, and what the proxy reports of a backend."""

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from psycopg.errors import CheckViolation, ForeignKeyViolation

from orchestrator.domain.catalogue import ContainerType
from orchestrator.domain.errors import HostwrightError
from orchestrator.domain.models import CustomerRow, Limits, Principal, TokenRow
from orchestrator.store.connection import Database
from orchestrator.store.queries import execute, fetch_row, read_rows, write_rows

TOKEN_PREFIX = "hw_"  # noqa: S105  # a mark for secret scanners, not a secret


def hash_token(token: str) -> bytes:
    """The hash of a token, which is all that is kept of it."""
    return hashlib.sha256(token.encode()).digest()


def find_principal(database: Database, token: str) -> Principal | None:
    """Find whom a token belongs to. None when it is unknown, revoked or expired."""
    rows = read_rows(database, "find_token", hash=hash_token(token))
    return Principal.model_validate(rows[0]) if rows else None


def create_token(database: Database, *, name: str, customer_id: str | None, expires_at: datetime | None = None) -> str:
    """Make a token as `issue_token` does. Returns only the token."""
    return issue_token(database, name=name, customer_id=customer_id, expires_at=expires_at)[1]


def issue_token(
    database: Database, *, name: str, customer_id: str | None, expires_at: datetime | None = None
) -> tuple[TokenRow, str]:
    """Make a token for a customer, or for an operator when no customer is given. Returns its row and the token.

    The token is shown once and kept only as a hash. Raises HostwrightError when there is no such customer.
    """
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    facts = {"hash": hash_token(token), "name": name, "customer_id": customer_id, "expires_at": expires_at}
    try:
        with database.connection() as connection:
            row = fetch_row(connection, "insert_token", **facts)
    except ForeignKeyViolation as error:
        raise HostwrightError(f"there is no customer {customer_id}: create it with `hostwright customer`") from error
    return TokenRow.model_validate(row), token


def list_tokens(
    database: Database, *, customer_id: str | None = None, after: UUID | None = None, limit: int = 50
) -> list[TokenRow]:
    """List tokens, newest first. `after` is the last id of the page before."""
    rows = read_rows(database, "list_tokens", customer_id=customer_id, after=after, limit=limit)
    return [TokenRow.model_validate(row) for row in rows]


def revoke_token(database: Database, token_id: UUID) -> bool:
    """Revoke a token, at once in every API process. Returns whether there is such a token."""
    return write_rows(database, "revoke_token", id=token_id) == 1


def note_token_uses(database: Database, uses: Mapping[UUID, str | None], *, at_most_every: float) -> None:
    """Keep that tokens were used now, each from its address. A use is written once in `at_most_every` seconds."""
    addresses = list(uses.values())
    write_rows(database, "note_token_uses", ids=list(uses), addresses=addresses, seconds=at_most_every / 2)


def ensure_customer(database: Database, customer_id: str) -> None:
    """Make a customer unless it exists. Raises HostwrightError when the id cannot be that of a customer."""
    with _refuse_improper(customer_id):
        write_rows(database, "ensure_customer", id=customer_id)


@contextmanager
def _refuse_improper(customer_id: str) -> Iterator[None]:
    try:
        yield
    except CheckViolation as error:
        raise HostwrightError(
            f"{customer_id!r} cannot be a customer's id: use at most 63 lower-case letters, digits and -"
        ) from error


def update_customer(
    database: Database,
    customer_id: str,
    *,
    billing_state: str | None = None,
    max_instances: int | None = None,
    max_memory_mib: int | None = None,
    max_cpu_cores: int | None = None,
    quotas: Mapping[ContainerType, Limits] | None = None,
    make: bool = False,
) -> bool:
    """Set what is given. Returns whether there is such a customer; with `make` it is made when there is none.

    The limits of a container type are replaced as a whole. Raises HostwrightError when the id cannot be that of a
    customer.
    """
    with _refuse_improper(customer_id), database.transaction() as connection:
        if make:
            execute(connection, "ensure_customer", id=customer_id)
        touched = execute(
            connection,
            "update_customer",
            id=customer_id,
            billing_state=billing_state,
            max_instances=max_instances,
            max_memory_mib=max_memory_mib,
            max_cpu_cores=max_cpu_cores,
        )
        if touched == 0:
            return False
        for ctype, limits in (quotas or {}).items():
            execute(connection, "set_quota", customer_id=customer_id, ctype=ctype, **limits.model_dump())
        return True


def list_customers(database: Database, *, after: str | None = None, limit: int = 50) -> list[CustomerRow]:
    """List customers by id. `after` is the last id of the page before."""
    rows = read_rows(database, "list_customers", customer_id=None, after=after, limit=limit)
    return [CustomerRow.model_validate(row) for row in rows]


def get_customer(database: Database, customer_id: str) -> CustomerRow | None:
    """Read one customer. None when there is no such customer."""
    rows = read_rows(database, "list_customers", customer_id=customer_id, after=None, limit=1)
    return CustomerRow.model_validate(rows[0]) if rows else None


def billing_state(database: Database, customer_id: str) -> str:
    """The billing state of a customer. A newer release may know more of them than there are in BillingState."""
    (row,) = read_rows(database, "billing_state", id=customer_id)
    return str(row["billing_state"])


def set_proxy_status(database: Database, hostname: str, proxy_status: str) -> bool:
    """Keep what the proxy last said of a backend. Returns whether an instance has that host name."""
    return write_rows(database, "set_proxy_status", hostname=hostname, proxy_status=proxy_status) == 1
