"""What lists, sweeps and orders read does not grow with what has piled up. Counted in pages of the database."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from orchestrator.domain.billing import STOPPED_STATES
from orchestrator.domain.operations import EXPIRED, PROVISION, SWEPT
from orchestrator.sql import QUERIES
from tests.support.fix_database import fresh_database

BIG = "big"
MOST_PAGES = 400
"""Pages of 8 KiB that a query may touch. Reading a whole table of this test takes 1000 and more."""
FILL = """
insert into customer (id, billing_state) values ('big', 'active'), ('late', 'suspended');
insert into customer (id) select 'c' || n from generate_series(0, 1999) n;
insert into instance (id, customer_id, ctype, status, spec, memory_mib, cpu_cores, created_at, attend_at)
select gen_random_uuid(), case when n % 2 = 0 then 'big' when n % 2000 = 1 then 'late' else 'c' || n % 2000 end, 'game',
       case when n % 10 = 3 then 'stopped' else 'ready' end::instance_status, spec.spec, 2048, 2,
       now() - make_interval(secs => n), case when n % 2000 = 1 then now() + interval '1 hour' end
from generate_series(1, 20000) n, spec;
insert into operation (id, instance_id, customer_id, kind, status, ctype, spec, request_id, request_hash, created_at,
                       finished_at)
select gen_random_uuid(), gen_random_uuid(), case when n % 2 = 0 then 'big' else 'c' || n % 2000 end,
       case when n > 39900 then 'stop' when n % 3 = 0 then 'provision' else 'teardown' end,
       case when n > 39800 and n % 3 = 0 then 'failed' else 'succeeded' end::operation_status, 'game', spec.spec,
       gen_random_uuid(), '', now() - make_interval(secs => n), now()
from generate_series(1, 40000) n, spec;
analyze;
"""


@pytest.fixture(scope="module")
def grown(server_url: str, template: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a database in which much has piled up: few of many operations have failed or are stops."""
    with fresh_database(server_url, "growth", template=template) as url, psycopg.connect(url) as connection:
        connection.execute("create temporary table spec as select %s::jsonb as spec", [Jsonb({"world": "w" * 200})])
        connection.execute(FILL)
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
    [
        {},
        {"status": "failed"},
        {"status": "cancelled"},
        {"status": "queued"},
        {"status": "succeeded"},
        {"kind": "stop"},
        {"kind": "start"},
        {"kind": "stop", "status": "failed"},
        {"kind": "provision", "status": "failed"},
    ],
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
