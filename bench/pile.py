"""Fills a migrated database by SQL with what piles up over years: servers, finished operations and all that they leave.

The benchmark of growth and its test measure on the same pile, of different sizes. What is asked for seldom is the worst
case: one customer owns half of everything, and the few operations that failed or are stops are the oldest ones.
"""

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from orchestrator.domain.operations import PROVISION

BIG = "big"
"""The customer that owns every second server and operation."""
LATE = "late"
"""A customer whose account is stopped. It owns few servers, and the sweep has seen to them already."""
CUSTOMERS = 2000
WAITING = 60
"""Operations that wait for a worker, each of another customer. A queue does not pile up, because it is worked off."""
FIRST_VMID = 10_000
"""The VMID of the first server. The ranges of the lab's catalogue are below."""

_SPEC = {"version": "1.21.7", "world": "w" * 200}
_BATCH = 100_000
"""Rows in a statement, so that the progress can be told."""

_BEGIN = """
create temporary table spec as select %(spec)s::jsonb as spec;
insert into customer (id, billing_state, max_instances, max_memory_mib, max_cpu_cores)
values ('big', 'active', 1000000, 2000000000, 10000000), ('late', 'suspended', 20, 131072, 64);
insert into customer (id, max_instances, max_memory_mib, max_cpu_cores)
select 'c' || n, 1000, 2000000, 10000 from generate_series(0, %(customers)s - 1) n;
insert into token (hash, name, customer_id)
select sha256(('t' || n)::bytea), 'portal', 'c' || n from generate_series(0, %(customers)s - 1) n;
"""
_INSTANCES = """
with made as (
    insert into instance (id, customer_id, ctype, status, vmid, hostname, spec, memory_mib, cpu_cores, created_at,
                          attend_at)
    select gen_random_uuid(),
           case when n %% 2 = 0 then 'big' when n %% 2000 = 1 then 'late' else 'c' || n %% %(customers)s end, 'game',
           case when n %% 10 = 3 then 'stopped' else 'ready' end::instance_status,
           %(first_vmid)s + n, 'mc-vanilla-' || %(first_vmid)s + n, spec.spec, 2048, 2,
           now() - make_interval(secs => n), case when n %% 2000 = 1 then now() + interval '1 hour' end
    from generate_series(%(first)s, %(last)s) n, spec
    returning id, hostname, status
)
insert into publication (instance_id, driver, place, type, name, value)
select id, 'technitium', 'lab/lab.example', type, hostname, '127.0.0.1'
from made, unnest(array['A', 'SRV']) type where status = 'ready';
"""
_OPERATIONS = """
with made as (
    insert into operation (id, instance_id, customer_id, kind, status, ctype, spec, request_id, request_hash,
                           created_at, finished_at, last_seq)
    select gen_random_uuid(), gen_random_uuid(),
           case when n %% 2 = 0 then 'big' else 'c' || n %% %(customers)s end,
           case when n > %(total)s - 100 then 'stop' when n %% 3 = 0 then 'provision' else 'teardown' end,
           case when n > %(total)s - 200 and n %% 3 = 0 then 'failed' else 'succeeded' end::operation_status, 'game',
           spec.spec, gen_random_uuid(), '', now() - make_interval(secs => n), now(), 10
    from generate_series(%(first)s, %(last)s) n, spec
    returning id, instance_id, customer_id, kind, spec, created_at
), keyed as (
    insert into idempotency_key (customer_id, key, request_hash, operation_id, created_at)
    select customer_id, id::text, '', id, created_at from made where kind = 'provision'
), archived as (
    insert into archived_instance (id, customer_id, ctype, spec, created_at)
    select instance_id, customer_id, 'game', spec, created_at from made where kind = 'teardown'
), newest as (
    select id, created_at from made order by created_at desc limit %(detailed)s
), phased as (
    insert into operation_phase (operation_id, name, status, started_at, finished_at)
    select id, p, 'ok', created_at, now() from newest, unnest(%(phases)s::text[]) p
), logged as (
    insert into operation_event (operation_id, seq, level, message)
    select id, e, 'info', 'what happened' from newest, generate_series(1, 10) e
)
insert into audit (at, principal, customer_id, method, route, target, status, operation_id)
select created_at, 'portal', customer_id, 'POST', '/api/instances', instance_id::text, 202, id from made;
"""
_WAITING = """
with made as (
    insert into instance (id, customer_id, ctype, spec, memory_mib, cpu_cores)
    select gen_random_uuid(), 'c' || n, 'game', spec.spec, 2048, 2 from generate_series(1, %(waiting)s) n, spec
    returning *
)
insert into operation (id, instance_id, customer_id, kind, ctype, spec, request_id, request_hash)
select gen_random_uuid(), id, customer_id, 'provision', ctype, spec, gen_random_uuid(), '' from made;
"""


def pile_up(
    connection: psycopg.Connection[Any],
    *,
    instances: int,
    operations: int,
    detailed: int,
    tell: Callable[[str], object] = lambda line: None,
) -> None:
    """Fill the database within the caller's transaction. `tell` hears how far it has come.

    So many of the newest operations are `detailed`: they have phases and a log. A read touches those of one only.
    """
    shared = {"customers": CUSTOMERS, "first_vmid": FIRST_VMID, "phases": list(map(str, PROVISION.phases))}
    _run(connection, _BEGIN, shared | {"spec": Jsonb(_SPEC)})
    for noun, statement, total in (("instances", _INSTANCES, instances), ("operations", _OPERATIONS, operations)):
        for first in range(1, total + 1, _BATCH):
            last = min(first + _BATCH - 1, total)
            batch = {"first": first, "last": last, "total": total, "detailed": max(0, detailed - first + 1)}
            _run(connection, statement, shared | batch)
            tell(f"{last} of {total} {noun}")
    _run(connection, _WAITING, {"waiting": WAITING})
    tell("analyze")
    connection.execute("analyze")


def _run(connection: psycopg.Connection[Any], statements: str, parameters: dict[str, Any]) -> None:
    """Run statements that have parameters, which the server takes only one at a time."""
    psycopg.ClientCursor(connection).execute(sql.SQL(statements), parameters)
