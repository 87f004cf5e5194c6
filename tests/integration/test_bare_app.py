"""The bare app of the benchmarks writes what an order writes, so that it stays an honest baseline."""

import json
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from bench.bare_app import write_order
from bench.rehearsal import Rehearsal
from bench.verbs import place
from orchestrator.store.connection import Database
from tests.support.fix_database import CUSTOMER

ORDER = json.dumps({"ctype": "game", "variant": "vanilla", "version": "1.21.7", "customerId": CUSTOMER}).encode()


def place_bare(database: Database) -> None:
    with database.connection() as connection:
        write_order(connection, ORDER, "key")


def count_written(url: str, write: Callable[[Database], object]) -> dict[str, tuple[int, ...]]:
    """The rows that were inserted, updated and deleted in each table, by triggers too."""
    with closing(Rehearsal(url)) as rehearsal, rehearsal.attempt(), rehearsal.connection() as connection:
        write(rehearsal)
        rows: list[Any] = connection.execute(
            "select relname, n_tup_ins, n_tup_upd, n_tup_del from pg_stat_xact_user_tables "
            "where n_tup_ins + n_tup_upd + n_tup_del > 0"
        ).fetchall()
    return {table: tuple(counts) for table, *counts in rows}


@pytest.mark.usefixtures("database")
def test_writes_the_rows_that_an_order_writes(database_url: str) -> None:
    bare = count_written(database_url, place_bare)
    assert bare == count_written(database_url, partial(place, CUSTOMER))
    assert {"operation", "instance", "idempotency_key", "audit", "huey_task", "customer"} < bare.keys()
