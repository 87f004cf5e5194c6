"""An order is written when its facts allow it: the statement and the pure decision must agree on every one."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from orchestrator.domain.admission import MAX_FAILED, MAX_KEPT, Demand, Facts, decide
from orchestrator.domain.billing import ORDERING_STATES, BillingState
from orchestrator.domain.errors import Problem
from orchestrator.sql import FRAGMENTS

ID = st.sampled_from([None, UUID(int=1)])
HASH = st.sampled_from([b"this", b"another"])
FEW = st.integers(0, 3)
"""Small enough that uses, limits and what is asked for often meet at the limit."""
LIMIT = st.integers(2, 5)
CTYPE_LIMIT = st.none() | LIMIT

DEMANDS = st.builds(
    Demand,
    key=st.sampled_from([None, "key"]),
    request_hash=HASH,
    ctype=st.just("game"),
    memory_mib=st.integers(1, 3),
    cpu_cores=st.integers(1, 3),
    keep=st.booleans(),
    body_hash=HASH,
)
# Most draws must get past the other conditions, or an error in one of them is seldom seen.
FACTS = st.builds(
    Facts,
    revision=st.just(0),
    billing_state=st.sampled_from([*BillingState, *sorted(ORDERING_STATES) * 4]),
    max_instances=LIMIT,
    max_memory_mib=LIMIT,
    max_cpu_cores=LIMIT,
    key_operation=st.sampled_from([None] * 4 + [UUID(int=1)]),
    key_hash=HASH,
    active_operation=ID,
    active_hash=HASH,
    used_instances=FEW,
    used_memory_mib=FEW,
    used_cpu_cores=FEW,
    max_ctype_instances=CTYPE_LIMIT,
    max_ctype_memory_mib=CTYPE_LIMIT,
    max_ctype_cpu_cores=CTYPE_LIMIT,
    used_ctype_instances=FEW,
    used_ctype_memory_mib=FEW,
    used_ctype_cpu_cores=FEW,
    failed=st.sampled_from([0, 0, MAX_FAILED - 1, MAX_FAILED]),
    kept=st.sampled_from([0, MAX_KEPT - 1, MAX_KEPT]),
    key_body_hash=HASH,
)
TYPES = {
    "billing_state": "billing_state", "key_operation": "uuid", "active_operation": "uuid", "key_hash": "bytea",
    "active_hash": "bytea", "key_body_hash": "bytea",
}  # fmt: skip
"""The types of facts that are no integers."""


@pytest.fixture(scope="module")
def connection(server_url: str, template: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server_url, dbname=template) as connection:
        yield connection


def is_acceptable(connection: psycopg.Connection[Any], demand: Demand, facts: Facts) -> bool:
    columns = [f"%(fact_{name})s::{TYPES.get(name, 'int')} as {name}" for name in asdict(facts)]
    statement = f"select {FRAGMENTS['acceptable']} from (select {', '.join(columns)}) f"  # noqa: S608
    states = f"{{{','.join(ORDERING_STATES)}}}"
    limits = {"ordering_states": states, "max_failed": MAX_FAILED, "max_kept": MAX_KEPT}
    parameters = asdict(demand) | limits | {f"fact_{name}": value for name, value in asdict(facts).items()}
    row = connection.execute(sql.SQL(statement), parameters).fetchone()
    assert row is not None
    return row[0] is True


def is_accepted(demand: Demand, facts: Facts) -> bool:
    try:
        return decide(demand, facts).kind == "accept"
    except Problem:
        return False


@settings(max_examples=500)
@given(DEMANDS, FACTS)
def test_writes_exactly_what_is_accepted(connection: psycopg.Connection[Any], demand: Demand, facts: Facts) -> None:
    assert is_acceptable(connection, demand, facts) is is_accepted(demand, facts)
