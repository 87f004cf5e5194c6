-- Requests about an instance or an operation that exists.

-- name: lock_instance
-- Lock an instance by its id or its VMID. A customer finds only its own.
select * from instance
where (id = %(server_id)s::uuid or vmid = %(vmid)s::int)
  and (%(customer_id)s::text is null or customer_id = %(customer_id)s)
for update;

-- name: active_operation
-- Find the operation that holds an instance now, if there is one.
select id, kind from operation where instance_id = %(instance_id)s and status in ('queued', 'running', 'cleaning');

-- name: insert_request
-- Write an operation on an instance, and the state of the instance with it.
with i as (
    update instance
    set status = coalesce(%(instance_status)s::instance_status, status), updated_at = now(), expires_at = null,
        attend_at = case
            -- A clone may still come late: its VMID stays taken until then.
            when status = 'failed' and vmid is not null and leaked = '{}' then attend_at
            -- A server that a failed stop left half-way is looked after unless this makes it something else.
            when status = 'stopping' and %(instance_status)s::instance_status is null then now()
        end
    where id = %(instance_id)s
    returning id, customer_id, ctype, vmid, hostname, spec
)
insert into operation (id, instance_id, customer_id, kind, ctype, vmid, hostname, spec, request_id, request_hash)
select %(operation_id)s, id, customer_id, %(kind)s, ctype, vmid, hostname, spec, %(request_id)s, ''::bytea from i;

-- name: insert_retry
-- Write the retry of an order whose machine was kept. No row means that the customer's facts have changed, so the
-- decision is made again.
with guard as (
    update customer set revision = revision + 1 where id = %(customer_id)s and revision = %(revision)s returning id
), i as (
    update instance set status = 'provisioning', updated_at = now(), attend_at = null, expires_at = null
    from guard where instance.id = %(instance_id)s and status = 'quarantined'
    returning instance.id, customer_id, ctype, vmid, hostname, spec
)
insert into operation
    (id, instance_id, customer_id, kind, ctype, vmid, hostname, spec, request_id, request_hash, retry_of)
select %(operation_id)s, id, customer_id, %(kind)s, ctype, vmid, hostname, spec, %(request_id)s, %(request_hash)s,
       %(retry_of)s
from i;

-- name: lock_operation
-- Lock an operation. A customer finds only its own.
select id, kind, status, attempt, retry_of from operation
where id = %(operation_id)s and (%(customer_id)s::text is null or customer_id = %(customer_id)s) for update;

-- name: cancel_waiting
-- Cancel an operation that nothing was done for yet. It will never start.
with o as (
    update operation
    set status = 'cancelled', error = %(error)s, finished_at = now(), cancel_requested_at = now(),
        last_seq = last_seq + 1
    where id = %(operation_id)s and status = 'queued' and attempt = 0
    returning id, instance_id, last_seq, phase, 'info' as level, %(message)s as message
), failed as (
    update instance set status = 'failed', updated_at = now()
    from o where instance.id = o.instance_id and instance.status = 'provisioning'
), {{logged}}
select {{notify}} from o;

-- name: request_cancel
-- Ask the worker that holds an operation, or takes it next, to cancel it.
with o as (
    update operation set cancel_requested_at = now(), due_at = null, last_seq = last_seq + 1
    where id = %(operation_id)s and cancel_requested_at is null
    returning id, last_seq, phase, 'info' as level, %(message)s as message
), {{logged}}
select {{notify}} from o;

-- name: retry_facts
-- Read what a retry of an operation needs: whether its machine is kept, and which retry is active already.
select o.id, o.kind, o.status, o.instance_id, o.customer_id, o.ctype, o.spec, o.request_hash, i.memory_mib, i.cpu_cores,
       coalesce(i.status = 'quarantined', false) as is_kept,
       (select later.id from operation later
        where later.retry_of = o.id and later.status in ('queued', 'running', 'cleaning')) as active_retry
from operation o left join instance i on i.id = o.instance_id
where o.id = %(operation_id)s and (%(customer_id)s::text is null or o.customer_id = %(customer_id)s);
