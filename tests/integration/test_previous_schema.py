"""A database with rows of every kind, written by code of an earlier schema: migrated, read and worked on by ours."""

import json
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from orchestrator.domain.errors import Code
from orchestrator.domain.models import CustomerRow, InstanceRow, OperationRow
from orchestrator.store import accounts, audit, contents, reads
from orchestrator.store.connection import Database
from orchestrator.store.migrations import migrate, read_migrations
from tests.support.fix_database import fresh_database, load_schema
from tests.support.storage import claim, instance, messages, operation, phases, query, swept

SCHEMAS = (1, 3, 5)


@pytest.fixture
def previous_url(server_url: str, schema: int) -> Iterator[str]:
    """The URL of a database as the code of the earlier schema has left it."""
    with fresh_database(server_url, "previous") as url:
        load_schema(url, schema)
        yield url


@pytest.fixture
def migrated(previous_url: str) -> Iterator[Database]:
    """The same with our schema."""
    migrate(previous_url)
    database = Database(previous_url)
    database.open()
    yield database
    database.close()


def columns(url: str) -> dict[str, list[str]]:
    """Every table with its columns, without the one that migrating is about."""
    with psycopg.connect(url) as connection:
        return dict(
            connection.execute(
                "select table_name, array_agg(column_name::text) from information_schema.columns "
                "join information_schema.tables using (table_schema, table_name) "
                "where table_schema = 'public' and table_type = 'BASE TABLE' and table_name <> 'schema_migration' "
                "group by table_name"
            ).fetchall()
        )


def rows(url: str, of: dict[str, list[str]]) -> Counter[str]:
    """Every row of these columns of these tables, as text."""
    found: Counter[str] = Counter()
    with psycopg.connect(url) as connection:
        for table, names in of.items():
            listed = sql.SQL(", ").join(map(sql.Identifier, names))
            text = sql.SQL("select to_jsonb(t) from (select {} from {}) t").format(listed, sql.Identifier(table))
            found.update(f"{table} {json.dumps(row, sort_keys=True)}" for (row,) in connection.execute(text))
    return found


def ordered(database: Database, key: str) -> OperationRow:
    """The operation of the order with this Idempotency-Key."""
    ((operation_id,),) = query(database, "select operation_id from idempotency_key where key = %s", key)
    return operation(database, operation_id)


def server(database: Database, key: str) -> InstanceRow:
    """The server of the order with this Idempotency-Key."""
    return instance(database, ordered(database, key).instance_id)


def customer(database: Database, customer_id: str) -> CustomerRow:
    found = accounts.get_customer(database, customer_id)
    assert found is not None
    return found


@pytest.mark.parametrize("schema", [1, 3])
def test_has_rows_in_every_table_but_those_that_huey_leaves_empty(previous_url: str) -> None:
    counted = contents.read_contents(previous_url).rows
    assert {name for name, count in counted.items() if not count} == {"huey_counter", "huey_kv", "huey_schedule"}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_migrates_and_keeps_every_row_as_it_was(previous_url: str, schema: int) -> None:
    known = columns(previous_url)
    before = rows(previous_url, known)
    assert migrate(previous_url) == [each.version for each in read_migrations() if each.version > schema]
    assert before.total() > 150
    assert rows(previous_url, known) == before


# of the first schema


@pytest.mark.parametrize("schema", [1])
def test_looks_after_what_the_first_schema_left_to_people(migrated: Database) -> None:
    leaked = server(migrated, "order-leaked")
    assert (leaked.status, leaked.leaked, leaked.vmid) == ("failed", ("container:5000",), 5007)
    assert [each.id for each in reads.list_instances(migrated, customer_id=None, leaked=True)] == [leaked.id]
    kept = server(migrated, "order-kept")
    assert kept.status == "quarantined"
    assert kept.expires_at is not None
    undeleted = server(migrated, "order-undeleted")
    query(migrated, "update operation set deadline_at = now() + interval '1 hour' where deadline_at is not null")
    swept(migrated)
    again = {str(row.kind) for row in reads.list_operations(migrated, customer_id=None, status="queued", limit=500)}
    assert again == {"provision", "cleanup", "teardown"}
    assert server(migrated, "order-undeleted").active_operation is not None
    assert undeleted.active_operation is None
    assert server(migrated, "order-kept").active_operation is None
    assert server(migrated, "order-undone").active_operation is None


@pytest.mark.parametrize("schema", [1])
def test_reads_what_the_first_schema_had(migrated: Database) -> None:
    instances = reads.list_instances(migrated, customer_id=None, limit=1000)
    assert Counter(str(each.status) for each in instances) == {
        "ready": 3, "deleting": 2, "quarantined": 1, "failed": 2, "provisioning": 4,
    }  # fmt: skip
    operations = reads.list_operations(migrated, customer_id=None, limit=500)
    assert Counter(f"{each.kind} {each.status}" for each in operations) == {
        "provision succeeded": 6, "provision failed": 3, "provision queued": 1, "provision running": 2,
        "provision cleaning": 1, "teardown succeeded": 1, "teardown running": 1, "teardown failed": 1,
    }  # fmt: skip
    acme = customer(migrated, "acme")
    assert (acme.limits.instances, acme.used.instances, acme.ctype_limits) == (100, 7, {})
    assert customer(migrated, "late").billing_state == "suspended"
    tokens = accounts.list_tokens(migrated, customer_id=None)
    assert len({each.id for each in tokens}) == 3
    assert all(each.last_used_at is None for each in tokens)


# of the third


@pytest.mark.parametrize("schema", [3])
def test_reads_instances_as_they_were(migrated: Database) -> None:
    instances = reads.list_instances(migrated, customer_id=None, limit=1000)
    assert Counter(str(each.status) for each in instances) == {
        "ready": 4, "stopped": 2, "deleting": 1, "quarantined": 1, "failed": 3, "provisioning": 5,
    }  # fmt: skip
    ready = ordered(migrated, "order-ready")
    found = reads.get_instance(migrated, server_id=ready.instance_id, vmid=None, customer_id="acme")
    assert found is not None
    assert (found.vmid, found.hostname, str(found.address)) == (5000, "host-5000", "127.0.0.9")
    assert found.spec["version"] == "1.21.7"
    leaked = [each for each in reads.list_instances(migrated, customer_id="acme", leaked=True) if each.attend_at]
    assert [each.leaked for each in leaked] == [("container:5000",)]
    (deleted,) = query(migrated, "select id from archived_instance")
    assert reads.deleted_at(migrated, deleted[0], "acme") is not None


@pytest.mark.parametrize("schema", [3])
def test_reads_operations_with_their_phases_and_logs(migrated: Database) -> None:
    operations = reads.list_operations(migrated, customer_id=None, limit=500)
    assert Counter(f"{each.kind} {each.status}" for each in operations) == {
        "provision succeeded": 8, "provision failed": 4, "provision queued": 2, "provision running": 2,
        "provision cleaning": 1, "provision cancelled": 1, "stop succeeded": 2, "stop queued": 1, "start running": 1,
        "teardown succeeded": 1, "teardown running": 1,
    }  # fmt: skip
    running = ordered(migrated, "order-running")
    assert phases(migrated, running.id) == {"allocate-vmid": "ok", "clone-container": "running"}
    assert "the template is locked: asking again" in messages(migrated, running.id)
    kept = ordered(migrated, "order-kept")
    assert kept.error is not None
    assert kept.error.code is Code.AGENT_ERROR


@pytest.mark.parametrize("schema", [3])
def test_counts_what_customers_have_against_their_limits(migrated: Database) -> None:
    acme = customer(migrated, "acme")
    assert (acme.billing_state, acme.limits.instances, acme.ctype_limits["game"].instances) == ("active", 100, 50)
    assert (acme.used.instances, acme.ctype_used["dev"].instances) == (10, 1)
    assert customer(migrated, "umbrella").used.instances == 2
    states = {each.id: each.billing_state for each in accounts.list_customers(migrated)}
    assert states == {"acme": "active", "umbrella": "active", "late": "suspended", "gone": "pending_deletion"}


@pytest.mark.parametrize("schema", [3])
def test_keeps_tokens_and_the_audit_log(migrated: Database) -> None:
    tokens = {(each.name, each.customer_id): each for each in accounts.list_tokens(migrated, customer_id=None)}
    assert set(tokens) == {("ops", None), ("portal", "acme"), ("portal", "umbrella"), ("spare", "acme")}
    assert [name for name, each in tokens.items() if each.revoked_at] == [("spare", "acme")]
    entries = audit.list_entries(migrated, limit=500)
    assert [entry.seq for entry in entries] == list(range(32, 0, -1))
    audit.record(migrated, entries[0].model_copy(update={"target": "one more"}))
    assert audit.list_entries(migrated, limit=1)[0].seq == 33


@pytest.mark.parametrize("schema", [3])
def test_goes_on_where_its_workers_were(migrated: Database) -> None:
    held = query(
        migrated,
        "update operation set lease_expires_at = now(), deadline_at = now() + interval '1 hour' "
        "where lease_expires_at is not null returning id, status",
    )
    assert set(swept(migrated).lost) == {each for each, status in held if status == "running"}
    now = Counter((str(found.status), found.losses) for found in (operation(migrated, each) for each, _ in held))
    # One was lost for the second time, and one was already being undone.
    assert now == {("queued", 1): 3, ("cleaning", 2): 1, ("cleaning", 0): 1}
    resumed = claim(migrated, ordered(migrated, "order-running").id)
    assert resumed.fencing_token == 3


@pytest.mark.parametrize("schema", [5])
def test_case_c5_the_env_of_a_server_that_was_deleted_before_goes_too(previous_url: str, schema: int) -> None:
    env = json.dumps({"env": {"API_KEY": "s3cret-of-old"}})
    with psycopg.connect(previous_url) as connection:
        connection.execute("update archived_instance set spec = spec || %s", [env])
        connection.execute("update operation set spec = spec || %s", [env])
    migrate(previous_url)
    with psycopg.connect(previous_url) as connection:
        left = connection.execute("select count(*) from archived_instance where spec::text like '%s3cret%'").fetchone()
        kept = connection.execute(
            "select distinct i.id is not null from operation o left join instance i on i.id = o.instance_id "
            "where o.spec::text like '%s3cret%'"
        ).fetchall()
    assert left == (0,)
    assert kept == [(True,)], "of servers that are there, a retry needs it"
