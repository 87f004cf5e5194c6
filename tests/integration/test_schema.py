"""What the database and the code say twice has to be the same: words, transitions, Huey's tables."""

import itertools
from typing import Any, get_args
from uuid import uuid4

import psycopg
import pytest

from orchestrator.domain.billing import BillingState
from orchestrator.domain.catalogue import ContainerType
from orchestrator.domain.errors import IllegalTransition
from orchestrator.domain.states import (
    INSTANCE_TRANSITIONS,
    OPERATION_FINAL,
    OPERATION_TRANSITIONS,
    InstanceStatus,
    OperationStatus,
    PhaseStatus,
)
from orchestrator.store import wakeups
from orchestrator.store.connection import Database
from tests.support.fix_database import CUSTOMER

# the database's types and transitions


def test_has_the_same_words_in_python_and_sql(database: Database) -> None:
    with database.transaction() as connection:
        rows = connection.execute(
            "select t.typname, e.enumlabel from pg_enum e join pg_type t on t.oid = e.enumtypid"
        ).fetchall()
    words: dict[str, set[str]] = {}
    for name, label in rows:
        words.setdefault(name, set()).add(label)
    assert words == {
        "operation_status": set(map(str, OperationStatus)),
        "phase_status": set(map(str, PhaseStatus)),
        "instance_status": set(map(str, InstanceStatus)),
        "container_type": set(get_args(ContainerType)),
        "billing_state": set(map(str, BillingState)),
    }


def allowed(database: Database, table: str, old: str, new: str) -> bool:
    """Whether the database lets a fresh row go from one state to another."""
    row: dict[str, Any] = {"id": uuid4(), "customer": CUSTOMER, "old": old, "other": uuid4()}
    insert = {
        "instance": "insert into instance (id, customer_id, ctype, status, spec, memory_mib, cpu_cores) "
        "values (%(id)s, %(customer)s, 'game', %(old)s, '{}', 1, 1)",
        "operation": "insert into operation (id, instance_id, customer_id, kind, status, ctype, spec, request_id, "
        "request_hash, finished_at) values (%(id)s, %(other)s, %(customer)s, 'provision', %(old)s, 'game', '{}', "
        "%(other)s, '', case when %(final)s then now() end)",
    }[table]
    update = {
        "instance": "update instance set status = %(new)s where id = %(id)s",
        "operation": "update operation set status = %(new)s, finished_at = case when %(final)s then now() end "
        "where id = %(id)s",
    }[table]
    final = set(map(str, OPERATION_FINAL))
    try:
        with database.transaction() as connection:
            connection.execute(insert.encode(), row | {"final": old in final})
            connection.execute(update.encode(), row | {"new": new, "final": new in final})
    except IllegalTransition:
        return False
    return True


def test_allows_the_same_operation_transitions_in_python_and_sql(database: Database) -> None:
    for old, new in itertools.permutations(OperationStatus, 2):
        assert allowed(database, "operation", old, new) == (new in OPERATION_TRANSITIONS[old]), (old, new)


def test_allows_the_same_instance_transitions_in_python_and_sql(database: Database) -> None:
    for old, new in itertools.permutations(InstanceStatus, 2):
        assert allowed(database, "instance", old, new) == (new in INSTANCE_TRANSITIONS[old]), (old, new)


def test_holds_finished_at_and_final_states_together(database: Database) -> None:
    with pytest.raises(psycopg.errors.CheckViolation), database.transaction() as connection:
        connection.execute(
            "insert into operation (id, instance_id, customer_id, kind, ctype, spec, request_id, request_hash, "
            "finished_at) values (gen_random_uuid(), gen_random_uuid(), %s, 'provision', 'game', '{}', "
            "gen_random_uuid(), '', now())",
            (CUSTOMER,),
        )


# Huey


def tables(connection: psycopg.Connection[Any], schema: str) -> tuple[list[Any], list[Any]]:
    """The columns and indexes of Huey's tables, without the schema's name."""
    columns = connection.execute(
        "select table_name, column_name, data_type, is_nullable, replace(column_default, %s, '') "
        "from information_schema.columns where table_schema = %s and table_name like 'huey\\_%%' "
        "order by table_name, ordinal_position",
        (f"{schema}.", schema),
    ).fetchall()
    indexes = connection.execute(
        "select replace(indexdef, %s, '') from pg_indexes where schemaname = %s and tablename like 'huey\\_%%'",
        (f"{schema}.", schema),
    ).fetchall()
    return columns, sorted(indexes)


def test_makes_the_tables_that_huey_would_make(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        storage = wakeups.make_huey(lambda: psycopg.connect(database_url)).storage
        connection.execute("create schema by_huey")
        connection.execute("set search_path to by_huey")
        for statement in storage.ddl:
            connection.execute(statement)
        ours, theirs = tables(connection, "public"), tables(connection, "by_huey")
        assert ours == theirs
        assert len(ours[0]) > 10
        storage.close()


def test_notifies_the_channel_that_hueys_consumer_listens_to(database_url: str) -> None:
    storage = wakeups.make_huey(lambda: psycopg.connect(database_url)).storage
    assert storage.channel == wakeups.CHANNEL
    assert storage.name == wakeups.QUEUE
    assert storage.table_task == "huey_task"
    storage.close()
