-- Placing an order, and waking the workers.

-- name: order_facts
-- Read what the decision about an order needs, in one row. No row means that there is no such customer.
{{facts}};

-- name: place_order
-- Read the facts, and write an order if they allow it.
with f as (
    {{facts}}
), guard as (
    update customer set revision = customer.revision + 1 from f
    where customer.id = %(customer_id)s and customer.revision = f.revision and {{acceptable}}
    returning customer.id
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
    select %(by_principal)s, %(by_token_id)s, %(by_customer_id)s, %(by_address)s, %(by_method)s,
           %(by_route)s, %(instance_id)s::text, %(by_status)s, %(operation_id)s
    from guard where %(by_principal)s::text is not null
), queued as (
    insert into huey_task (queue, data) select %(queue)s, %(message)s from guard
)
select f.*, exists(select from guard) as written from f;

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
