"""What lists, sweeps and orders read does not grow with what has piled up. Counted in pages of the database."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from bench.growth import Findings, all_verbs
from bench.pile import BIG, pile_up
from bench.rehearsal import Rehearsal, find_scans
from bench.verbs import ASKED, UNMEASURED
from orchestrator.domain.billing import STOPPED_STATES
from orchestrator.domain.operations import EXPIRED, PROVISION, SWEPT
from orchestrator.sql import QUERIES
from tests.support.fix_database import fresh_database

MOST_PAGES = 400
"""Pages of 8 KiB that a query may touch. Reading a whole table of this test takes 1000 and more."""


@pytest.fixture(scope="module")
def grown_url(server_url: str, template: str) -> Iterator[str]:
    """The URL of a database in which much has piled up."""
    with fresh_database(server_url, "growth", template=template) as url:
        with psycopg.connect(url) as connection:
            pile_up(connection, instances=20_000, operations=40_000, detailed=1000)
        yield url


@pytest.fixture(scope="module")
def grown(grown_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to that database."""
    with psycopg.connect(grown_url) as connection:
        yield connection


def touched(connection: psycopg.Connection[Any], name: str, **parameters: Any) -> int:
    """The pages that a named query touches; what it writes is taken back."""
    statement = sql.SQL("explain (analyze, buffers, format json) ") + sql.SQL(QUERIES[name])
    with connection.transaction(force_rollback=True):
        row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


OPERATIONS = {"customer_id": None, "status": None, "kind": None, "after": None, "limit": 51}


@pytest.mark.parametrize("customer", [None, BIG])
@pytest.mark.parametrize(
    "asked",
    ASKED,
    ids=str,
)
def test_case_g1_lists_operations_without_reading_all(
    grown: psycopg.Connection[Any], customer: str | None, asked: dict[str, str]
) -> None:
    assert touched(grown, "list_operations", **OPERATIONS | asked | {"customer_id": customer}) < MOST_PAGES


@pytest.mark.parametrize("customer", [None, BIG])
@pytest.mark.parametrize("leaked", [False, True])
def test_case_g2_lists_instances_without_reading_all(
    grown: psycopg.Connection[Any], customer: str | None, leaked: bool
) -> None:
    assert touched(grown, "list_instances", customer_id=customer, leaked=leaked, after=None, limit=51) < MOST_PAGES


def test_case_g4_sweeps_without_reading_what_needs_nothing(grown: psycopg.Connection[Any]) -> None:
    kind_of = Jsonb({str(status): kind.name for status, kind in SWEPT.items()})
    held, stopped = Jsonb({}), sorted(STOPPED_STATES)
    assert (
        touched(grown, "sweep_unattended", kind_of=kind_of, expired=EXPIRED.name, held_in=held, stopped_states=stopped)
        < MOST_PAGES
    )


@pytest.mark.parametrize("keep", [False, True])
def test_case_g5_decides_about_an_order_without_counting_all(grown: psycopg.Connection[Any], keep: bool) -> None:
    facts = {"kind": PROVISION.name, "key": None, "ctype": "game", "request_hash": b"", "keep": keep, "max_failed": 5}
    assert touched(grown, "order_facts", customer_id=BIG, **facts) < MOST_PAGES
    assert touched(grown, "list_customers", customer_id=None, after=None, limit=51) < MOST_PAGES


def test_tries_every_named_query_or_says_why_not(grown_url: str) -> None:
    tried: set[str] = set()
    with closing(Rehearsal(grown_url)) as rehearsal:
        for verb in all_verbs().values():
            with rehearsal.attempt():
                verb(rehearsal)
            tried |= rehearsal.seconds.keys()
    assert tried | UNMEASURED.keys() == QUERIES.keys()
    assert not tried & UNMEASURED.keys()


def test_finds_a_table_that_a_plan_reads_from_end_to_end() -> None:
    scan = {"Node Type": "Seq Scan", "Relation Name": "operation"}
    nested = {"Node Type": "Limit", "Plans": [{"Node Type": "Index Scan", "Relation Name": "instance"}, scan]}
    assert list(find_scans(nested)) == ["operation"]


def test_names_what_takes_too_long_and_what_is_read_from_end_to_end() -> None:
    findings = Findings(
        {"claim": 9.9, "order_facts": 10.1}, {"order_facts": "an order"}, {"claim reads all of operation"}
    )
    assert findings.problems() == ["order_facts takes 10.1 ms in: an order", "claim reads all of operation"]


def test_case_g3_reads_a_thousand_servers_without_what_the_predecessor_does_not_tell(
    grown: psycopg.Connection[Any],
) -> None:
    assert touched(grown, "list_servers", customer_id=BIG, limit=1000) < 3 * MOST_PAGES
