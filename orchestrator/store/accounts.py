"""Customers, tokens, and what the proxy reports."""

import hashlib
import secrets
from datetime import datetime

from psycopg.errors import ForeignKeyViolation
from psycopg.rows import dict_row

from orchestrator.errors import HostwrightError
from orchestrator.models import Principal
from orchestrator.store.connection import Database, cursor_execute, execute

TOKEN_PREFIX = "hw_"  # noqa: S105  # a mark for secret scanners, not a secret


def hash_token(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def find_principal(database: Database, token: str) -> Principal | None:
    """Who a token belongs to, or None when it is unknown, revoked or expired."""
    with database.connection() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        row = cursor_execute(cursor, "find_token", {"hash": hash_token(token)}).fetchone()
        return Principal.model_validate(row) if row else None


def create_token(database: Database, *, name: str, customer_id: str | None, expires_at: datetime | None = None) -> str:
    """Make a token for an operator (no customer) or a customer; it is shown once and kept only as a hash.

    Raises HostwrightError when there is no such customer.
    """
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    parameters = {
        "hash": hash_token(token),
        "name": name,
        "customer_id": customer_id,
        "expires_at": expires_at,
    }
    try:
        with database.transaction() as connection:
            execute(connection, "insert_token", parameters)
    except ForeignKeyViolation as error:
        raise HostwrightError(f"there is no customer {customer_id}: create it with `hostwright customer`") from error
    return token


def ensure_customer(database: Database, customer_id: str) -> None:
    """Make a customer unless there is one."""
    with database.transaction() as connection:
        execute(connection, "ensure_customer", {"id": customer_id})


def update_customer(
    database: Database,
    customer_id: str,
    *,
    billing_state: str | None = None,
    max_instances: int | None = None,
    max_memory_mib: int | None = None,
    max_cpu_cores: int | None = None,
) -> bool:
    """Set what is given; False when there is no such customer."""
    parameters = {
        "id": customer_id,
        "billing_state": billing_state,
        "max_instances": max_instances,
        "max_memory_mib": max_memory_mib,
        "max_cpu_cores": max_cpu_cores,
    }
    with database.transaction() as connection:
        return execute(connection, "update_customer", parameters) == 1


def set_proxy_status(database: Database, hostname: str, proxy_status: str) -> bool:
    """Keep what the proxy last said of a backend; False when no instance has that host name."""
    with database.transaction() as connection:
        parameters = {"hostname": hostname, "proxy_status": proxy_status}
        return execute(connection, "set_proxy_status", parameters) == 1
