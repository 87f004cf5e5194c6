-- What many queries have in common. A query includes one as {{name}}, where it stands for the text below its name.

-- name: acceptable
-- Whether the facts `f` allow an order. orchestrator/domain/admission.py decides the same, and says why not.
f.key_operation is null
and f.billing_state = any(%(ordering_states)s::billing_state[])
and (%(key)s::text is not null or f.active_operation is null)
and f.used_instances < f.max_instances
and f.used_memory_mib + %(memory_mib)s <= f.max_memory_mib
and f.used_cpu_cores + %(cpu_cores)s <= f.max_cpu_cores
and (f.max_ctype_instances <= f.used_ctype_instances) is not true
and (f.max_ctype_memory_mib < f.used_ctype_memory_mib + %(memory_mib)s) is not true
and (f.max_ctype_cpu_cores < f.used_ctype_cpu_cores + %(cpu_cores)s) is not true
and f.failed < %(max_failed)s
and (not %(keep)s or f.kept < %(max_kept)s);

-- name: active
-- The operation that holds the instance `i` now. It is looked up for each instance, because a join may read all that are
-- active for each.
(select o.id from operation o
 where o.instance_id = i.id and o.status in ('queued', 'running', 'cleaning')) as active_operation;

-- name: facts
-- What the decision about an order needs, in one row. No row means that there is no such customer.
select c.revision, c.billing_state, c.max_instances, c.max_memory_mib, c.max_cpu_cores,
       q.max_instances as max_ctype_instances, q.max_memory_mib as max_ctype_memory_mib,
       q.max_cpu_cores as max_ctype_cpu_cores,
       k.operation_id as key_operation, ko.request_hash as key_hash, k.request_hash as key_body_hash,
       a.id as active_operation, a.request_hash as active_hash,
       u.*,
       (select count(*) from (
           select from instance where customer_id = c.id and status = 'failed' limit %(max_failed)s
       ) counted)::int as failed,
       case when %(keep)s then (
           select count(*) from instance
           where customer_id = c.id and status in ('quarantined', 'provisioning')
             and (status = 'quarantined' or spec ->> 'on_failure' = 'keep')
       ) else 0 end::int as kept
from customer c
left join quota q on q.customer_id = c.id and q.ctype = %(ctype)s
left join idempotency_key k
    on k.customer_id = c.id and k.key = %(key)s and k.created_at > now() - interval '7 days'
left join operation ko on ko.id = k.operation_id
left join lateral (
    select id, request_hash from operation
    where customer_id = c.id and ctype = %(ctype)s and kind = %(kind)s and status in ('queued', 'running', 'cleaning')
    order by (request_hash = %(request_hash)s) desc, created_at limit 1
) a on true
left join lateral (
    select
        coalesce(sum(instances), 0)::int as used_instances,
        coalesce(sum(memory_mib), 0)::int as used_memory_mib,
        coalesce(sum(cpu_cores), 0)::int as used_cpu_cores,
        coalesce(sum(instances) filter (where own), 0)::int as used_ctype_instances,
        coalesce(sum(memory_mib) filter (where own), 0)::int as used_ctype_memory_mib,
        coalesce(sum(cpu_cores) filter (where own), 0)::int as used_ctype_cpu_cores
    from (select *, ctype = %(ctype)s as own from customer_usage where customer_id = c.id) used
) u on true
where c.id = %(customer_id)s;

-- name: held
-- The operation that a worker holds: nobody has taken it over, and it has not ended.
id = %(operation_id)s and fencing_token = %(fencing_token)s and status in ('running', 'cleaning');

-- name: logged
-- A line in the log of each operation of `o`, which has raised last_seq for it and says phase, level and message.
logged as (
    insert into operation_event (operation_id, seq, phase, level, message)
    select id, last_seq, phase, level, message from o
);

-- name: notify
-- Tells whoever listens that the operation of this id has changed; PostgreSQL sends it when the transaction commits.
pg_notify('hostwright_operation', id::text);

-- name: phases
-- The phases that the operation `o` has begun.
(select jsonb_agg(jsonb_build_object('name', p.name, 'status', p.status, 'started_at', p.started_at,
                                     'finished_at', p.finished_at, 'retries', p.retries))
 from operation_phase p where p.operation_id = o.id) as phases;

-- name: records
-- What is published of the instance `i`, if it is ready.
(select jsonb_agg(jsonb_build_object('driver', p.driver, 'place', p.place, 'type', p.type, 'name', p.name,
                                     'value', p.value) order by p.recorded_at)
 from publication p where p.instance_id = i.id and i.status = 'ready') as records;

-- name: due
-- The operations that are not put off.
(due_at is null or due_at <= now());

-- name: waiting
-- The operations that wait for a worker: they are queued and not put off, or nobody undoes them any more.
((status = 'queued' and {{due}}) or (status = 'cleaning' and lease_expires_at < now()));

-- name: unread
-- The operation `o` that this worker has not passed over, or that was claimed since. Passed over are fencing tokens by
-- the ids of their operations.
(%(passed_over)s::jsonb ->> o.id::text is distinct from o.fencing_token::text);
