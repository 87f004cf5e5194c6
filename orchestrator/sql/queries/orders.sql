-- Placing an order, and waking the workers.

-- name: order_facts
-- Read what the decision about an order needs, in one row. No row means that there is no such customer.
select c.revision, c.billing_state, c.max_instances, c.max_memory_mib, c.max_cpu_cores,
       q.max_instances as max_ctype_instances, q.max_memory_mib as max_ctype_memory_mib,
       q.max_cpu_cores as max_ctype_cpu_cores,
       k.operation_id as key_operation, ko.request_hash as key_hash, k.request_hash as key_body_hash,
       a.id as active_operation, a.request_hash as active_hash,
       u.*,
       (select count(*) from (
            select from instance f where f.customer_id = c.id and f.status = 'failed' limit %(max_failed)s
        ) counted)::int as failed,
       case when %(keep)s then (
           select count(*) from instance i
           where i.customer_id = c.id and i.status in ('quarantined', 'provisioning')
             and (i.status = 'quarantined' or i.spec ->> 'on_failure' = 'keep')
       ) else 0 end::int as kept
from customer c
left join quota q on q.customer_id = c.id and q.ctype = %(ctype)s
left join idempotency_key k
    on k.customer_id = c.id and k.key = %(key)s and k.created_at > now() - interval '7 days'
left join operation ko on ko.id = k.operation_id
left join lateral (
    select o.id, o.request_hash from operation o
    where o.customer_id = c.id and o.ctype = %(ctype)s and o.kind = %(kind)s
      and o.status in ('queued', 'running', 'cleaning')
    order by (o.request_hash = %(request_hash)s) desc, o.created_at limit 1
) a on true
left join lateral (
    select coalesce(sum(i.instances), 0)::int as used_instances,
           coalesce(sum(i.memory_mib), 0)::int as used_memory_mib,
           coalesce(sum(i.cpu_cores), 0)::int as used_cpu_cores,
           coalesce(sum(i.instances) filter (where i.ctype = %(ctype)s), 0)::int as used_ctype_instances,
           coalesce(sum(i.memory_mib) filter (where i.ctype = %(ctype)s), 0)::int as used_ctype_memory_mib,
           coalesce(sum(i.cpu_cores) filter (where i.ctype = %(ctype)s), 0)::int as used_ctype_cpu_cores
    from customer_usage i
    where i.customer_id = c.id
) u on true
where c.id = %(customer_id)s;

-- name: insert_order
-- Write the instance, the operation, the idempotency key, the audit line and the queue's message of an order, all or
-- nothing. No row means that another order of the customer came first, so the decision is made again on new facts.
with guard as (
    update customer set revision = revision + 1 where id = %(customer_id)s and revision = %(revision)s returning id
), i as (
    insert into instance (id, customer_id, ctype, spec, memory_mib, cpu_cores)
    select %(instance_id)s, id, %(ctype)s, %(spec)s, %(memory_mib)s, %(cpu_cores)s from guard
), o as (
    insert into operation (id, instance_id, customer_id, kind, ctype, spec, request_id, request_hash)
    select %(operation_id)s, %(instance_id)s, id, %(kind)s, %(ctype)s, %(spec)s, %(request_id)s, %(request_hash)s
    from guard
), k as (
    insert into idempotency_key (customer_id, key, request_hash, operation_id)
    select id, %(key)s, %(body_hash)s, %(operation_id)s from guard where %(key)s::text is not null
    on conflict (customer_id, key) do update
    set request_hash = excluded.request_hash, operation_id = excluded.operation_id, created_at = now()
), line as (
    insert into audit (principal, token_id, customer_id, address, method, route, target, status, operation_id)
    select %(audit_principal)s, %(audit_token_id)s, %(audit_customer_id)s, %(audit_address)s, %(audit_method)s,
           %(audit_route)s, %(instance_id)s::uuid::text, %(audit_status)s, %(operation_id)s
    from guard where %(audit_principal)s::text is not null
)
insert into huey_task (queue, data) select %(queue)s, %(message)s from guard;

-- name: replayed_order
-- Find the order that came with this key and this body.
select o.id, o.instance_id, o.request_id
from idempotency_key k
join operation o on o.id = k.operation_id
where k.customer_id = %(customer_id)s and k.key = %(key)s and k.request_hash = %(body_hash)s
  and k.created_at > now() - interval '7 days';

-- name: accepted_operation
-- Read what the answer to an earlier order said.
select instance_id, request_id from operation where id = %(operation_id)s;

-- name: enqueue
-- Write the queue's message for an operation.
insert into huey_task (queue, data) values (%(queue)s, %(message)s);

-- name: wake_workers
-- Tell the workers to look into the queue now.
select pg_notify(%(channel)s, '');
