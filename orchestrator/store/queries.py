"""Runs the named queries of orchestrator/sql. Parameters are given by keyword, rows come back as dictionaries."""

from typing import Any

from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic import BaseModel

from orchestrator.domain.errors import LostLease
from orchestrator.domain.models import Lease
from orchestrator.sql import QUERIES
from orchestrator.store.connection import Connection, Database


def execute(connection: Connection, query: str, /, **parameters: Any) -> int:
    """Run a query within the caller's transaction. Returns the number of rows it touched."""
    return connection.execute(sql.SQL(QUERIES[query]), parameters).rowcount


def fetch_row(connection: Connection, query: str, /, **parameters: Any) -> dict[str, Any] | None:
    """Run a query within the caller's transaction. Returns its first row, or None when there is none."""
    return connection.cursor(row_factory=dict_row).execute(sql.SQL(QUERIES[query]), parameters).fetchone()


def fetch_rows(connection: Connection, query: str, /, **parameters: Any) -> list[dict[str, Any]]:
    """Run a query within the caller's transaction. Returns its rows."""
    return connection.cursor(row_factory=dict_row).execute(sql.SQL(QUERIES[query]), parameters).fetchall()


def read_rows(database: Database, query: str, /, **parameters: Any) -> list[dict[str, Any]]:
    """Run a query that only reads, on a connection of its own. Returns its rows."""
    with database.connection() as connection:
        return fetch_rows(connection, query, **parameters)


def write_rows(database: Database, query: str, /, **parameters: Any) -> int:
    """Run a query that is a transaction by itself. Returns the number of rows it touched."""
    with database.connection() as connection:
        return execute(connection, query, **parameters)


def execute_held(connection: Connection, query: str, lease: Lease, /, **parameters: Any) -> None:
    """Run a query that includes the fragment `held`. Raises LostLease when it touches no row."""
    if execute(connection, query, **parameters, **lease.model_dump()) == 0:
        raise _lost(lease)


def fetch_held(connection: Connection, query: str, lease: Lease, /, **parameters: Any) -> dict[str, Any]:
    """Run a query that includes the fragment `held`. Returns its row; raises LostLease when there is none."""
    row = fetch_row(connection, query, **parameters, **lease.model_dump())
    if row is None:
        raise _lost(lease)
    return row


def _lost(lease: Lease) -> LostLease:
    return LostLease(f"operation {lease.operation_id} is no longer held with token {lease.fencing_token}")


def as_json(model: BaseModel) -> Jsonb:
    """A model as a value of a jsonb column."""
    return Jsonb(model.model_dump(mode="json"))
