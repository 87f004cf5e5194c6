"""What must hold of the store's tables at any moment, read from them alone, whatever has happened."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from orchestrator.domain.operations import PROVISION, TEARDOWN
from orchestrator.domain.states import OPERATION_FINAL
from orchestrator.store.connection import Database
from tests.support.store_model import UNCOUNTED, Model

_OPERATIONS = """
select o.id, o.instance_id, o.kind, o.status, o.vmid, o.losses, o.attempt, o.fencing_token as token, o.last_seq,
       o.cancel_requested_at is not null as cancelling, o.retry_of, o.cleanup,
       case when o.lease_expires_at > now() then 'live' when o.lease_expires_at < now() then 'over' end as lease,
       (to_jsonb(o) - 'cleanup')::text as whole, e.count as events, e.last as last_event
from operation o left join lateral (
    select count(*), max(seq) as last from operation_event where operation_id = o.id
) e on true
"""
_INSTANCES = """
select i.id, i.customer_id, i.status, i.vmid, i.hostname, i.leaked,
       case when attend_at > now() then 'later' when attend_at < now() then 'due' end as attend,
       case when expires_at > now() then 'later' when expires_at < now() then 'due' end as expires,
       a.id as active, a.kind
from instance i left join operation a on a.instance_id = i.id and a.status in ('queued', 'running', 'cleaning')
"""
_MISCOUNTED = """
select * from (
    select customer_id, ctype, count(*) as instances, sum(memory_mib) as memory_mib, sum(cpu_cores) as cpu_cores
    from instance where status not in ('failed', 'quarantined') group by customer_id, ctype
) counted natural full join (select * from customer_usage where instances <> 0) kept
where (counted.*) is null or (kept.*) is null
"""


@dataclass(frozen=True)
class Tables:
    """The rows that matter, in one snapshot."""

    operations: dict[UUID, dict[str, Any]]
    instances: list[dict[str, Any]]
    archived: set[UUID]
    miscounted: list[dict[str, Any]]


def read(database: Database) -> Tables:
    """The tables as they stand."""
    with database.transaction() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        operations = {row["id"]: row for row in cursor.execute(_OPERATIONS.encode())}
        instances = cursor.execute(_INSTANCES.encode()).fetchall()
        archived = {row["id"] for row in cursor.execute("select id from archived_instance")}
        miscounted = cursor.execute(_MISCOUNTED.encode()).fetchall()
    return Tables(operations, instances, archived, miscounted)


@dataclass
class Invariants:
    """Remembers what was final and how far tokens were."""

    limit: int
    concurrency: int
    _final: dict[UUID, str] = field(default_factory=dict)
    _tokens: dict[UUID, int] = field(default_factory=dict)

    def check(self, tables: Tables) -> None:
        """Asserts them all."""
        for row in tables.operations.values():
            self._check_operation(row)
        live = [row for row in tables.operations.values() if row["lease"] == "live"]
        assert len(live) <= self.concurrency, "more is worked on at once than may be"
        for row in tables.instances:
            _check_instance(row)
        # One that was kept counts again while it is being deleted: that may be too many, but nothing new.
        at_rest = {*UNCOUNTED, "deleting"}
        counting = Counter(row["customer_id"] for row in tables.instances if row["status"] not in at_rest)
        assert all(count <= self.limit for count in counting.values()), f"a quota is exceeded: {counting}"
        assert not tables.miscounted, f"what counts against the limits is not what is there: {tables.miscounted}"
        living = [row["id"] for row in tables.instances]
        assert len(living) == len(set(living)), "an instance has two active operations"
        for name in ("vmid", "hostname"):
            taken = [row[name] for row in tables.instances if row[name] is not None]
            assert len(taken) == len(set(taken)), f"two instances have one {name}"
        assert not tables.archived & set(living), "an instance is dead and alive"
        ordered = {row["instance_id"] for row in tables.operations.values()}
        assert ordered == tables.archived | set(living), "an order has no instance, or an instance no order"

    def _check_operation(self, row: dict[str, Any]) -> None:
        operation_id = row["id"]
        assert self._final.get(operation_id, row["whole"]) == row["whole"], "a final operation has changed"
        if row["status"] in OPERATION_FINAL:
            self._final[operation_id] = row["whole"]
            assert row["lease"] is None, "a final operation has a lease"
        assert row["token"] >= self._tokens.get(operation_id, 0), "a fencing token went back"
        self._tokens[operation_id] = row["token"]
        assert row["losses"] <= 2, "more than two losses"
        assert row["status"] != "running" or row["losses"] <= 1, "it was resumed after a second loss"
        assert row["events"] == row["last_seq"] == (row["last_event"] or 0), "its log has a gap"


def _check_instance(row: dict[str, Any]) -> None:
    """Whatever is not at rest has somebody who looks after it."""
    match row["status"]:
        case "provisioning":
            assert row["kind"] == PROVISION.name, "nobody provisions it"
        case "quarantined":
            assert row["expires"] is not None, "it is kept for ever"
            assert not row["leaked"] or row["kind"] or row["attend"], "nobody takes it off the edge"
        case "stopping":
            assert row["kind"] is not None or row["attend"] is not None, "nobody stops it"
        case "deleting":
            assert row["kind"] == TEARDOWN.name or row["attend"] is not None, "nobody deletes it"
        case "failed":
            left = row["vmid"] is not None or row["leaked"]
            assert not left or row["kind"] is not None or row["attend"] is not None, "nobody cleans up what is left"
        case _:
            assert row["vmid"] is not None, "it runs without a VMID"


def compare(tables: Tables, model: Model) -> None:
    """The tables say what the model says."""
    assert {row["id"]: _seen(row) for row in tables.operations.values()} == {
        each.id: (each.instance.id, each.kind.name, each.status, each.vmid, each.losses, each.attempt, each.token,
                  each.lease if each.active else None, each.cancelling, each.retry_of)
        for each in model.operations.values()
    }  # fmt: skip
    assert {
        row["id"]: (row["status"], row["vmid"], row["leaked"], row["attend"], row["expires"], row["active"])
        for row in tables.instances
    } == {
        each.id: (each.status, each.vmid, each.leaked, each.attend, each.expires, active and active.id)
        for each in model.instances.values() for active in [model.active(each)]
    }  # fmt: skip
    assert tables.archived == model.archived


def _seen(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("instance_id", "kind", "status", "vmid", "losses", "attempt", "token", "lease", "cancelling", "retry_of")
    return tuple(row[name] for name in names)
