-- Every query Hostwright runs, by name. Statements that belong to a lease carry the fencing token in their WHERE;
-- when they touch no row, the lease is lost.

-- name: find_token
-- The principal of a bearer token, unless it is revoked or has expired.
select t.name, t.customer_id
from token t
where t.hash = %(hash)s and t.revoked_at is null and (t.expires_at is null or t.expires_at > now());

-- name: insert_token
-- Keep a new token's hash.
insert into token (hash, name, customer_id, expires_at) values (%(hash)s, %(name)s, %(customer_id)s, %(expires_at)s);

-- name: ensure_customer
-- Make a customer unless there is one.
insert into customer (id) values (%(id)s) on conflict (id) do nothing;

-- name: update_customer
-- Set what is given of a customer's billing state and limits.
update customer
set billing_state = coalesce(%(billing_state)s::billing_state, billing_state),
    max_instances = coalesce(%(max_instances)s, max_instances),
    max_memory_mib = coalesce(%(max_memory_mib)s, max_memory_mib),
    max_cpu_cores = coalesce(%(max_cpu_cores)s, max_cpu_cores),
    revision = revision + 1
where id = %(id)s;

-- name: order_facts
-- What the decision about an order needs, in one row; no row: there is no such customer.
select c.revision, c.billing_state, c.max_instances, c.max_memory_mib, c.max_cpu_cores,
       k.operation_id as key_operation, k.request_hash as key_hash,
       a.id as active_operation, a.request_hash as active_hash,
       u.instances as used_instances, u.memory_mib as used_memory_mib, u.cpu_cores as used_cpu_cores
from customer c
left join idempotency_key k
    on k.customer_id = c.id and k.key = %(key)s and k.created_at > now() - interval '7 days'
left join lateral (
    select o.id, o.request_hash from operation o
    where o.customer_id = c.id and o.ctype = %(ctype)s and o.kind = 'provision'
      and o.status in ('queued', 'running', 'cleaning')
    order by (o.request_hash = %(request_hash)s) desc, o.created_at limit 1
) a on true
left join lateral (
    select count(*)::int as instances, coalesce(sum(i.memory_mib), 0)::int as memory_mib,
           coalesce(sum(i.cpu_cores), 0)::int as cpu_cores
    from instance i
    -- What failed counts for as long as there may be a machine of it.
    where i.customer_id = c.id and (i.status not in ('failed', 'quarantined') or i.vmid is not null)
) u on true
where c.id = %(customer_id)s;

-- name: insert_order
-- Instance, operation, idempotency key and the queue's message, all or nothing. No row: another order of the customer came
-- between the decision and this, so the decision is made again on new facts.
with guard as (
    update customer set revision = revision + 1 where id = %(customer_id)s and revision = %(revision)s returning id
), i as (
    insert into instance (id, customer_id, ctype, spec, memory_mib, cpu_cores)
    select %(instance_id)s, id, %(ctype)s, %(spec)s, %(memory_mib)s, %(cpu_cores)s from guard
), o as (
    insert into operation (id, instance_id, customer_id, kind, ctype, spec, request_id, request_hash)
    select %(operation_id)s, %(instance_id)s, id, 'provision', %(ctype)s, %(spec)s, %(request_id)s, %(request_hash)s
    from guard
), k as (
    insert into idempotency_key (customer_id, key, request_hash, operation_id)
    select id, %(key)s, %(request_hash)s, %(operation_id)s from guard where %(key)s::text is not null
    on conflict (customer_id, key) do update
    set request_hash = excluded.request_hash, operation_id = excluded.operation_id, created_at = now()
)
insert into huey_task (queue, data) select %(queue)s, %(message)s from guard;

-- name: accepted_operation
-- What the answer to an order said.
select instance_id, request_id from operation where id = %(operation_id)s;

-- name: enqueue
-- The queue's message for an operation.
insert into huey_task (queue, data) values (%(queue)s, %(message)s);

-- name: wake_workers
-- Tell the workers to look into the queue now.
select pg_notify(%(channel)s, '');

-- name: lock_instance
-- An instance by its id or its VMID, locked; a customer finds only its own.
select * from instance
where (id = %(server_id)s::uuid or vmid = %(vmid)s::int) and (%(customer_id)s::text is null or customer_id = %(customer_id)s)
for update;

-- name: active_operation
-- The operation that holds an instance now, if any.
select id, kind from operation where instance_id = %(instance_id)s and status in ('queued', 'running', 'cleaning');

-- name: insert_teardown
-- A teardown of an instance, and the instance's state with it.
with i as (
    update instance set status = 'deleting', updated_at = now() where id = %(instance_id)s
    returning id, customer_id, ctype, vmid, hostname, spec
)
insert into operation (id, instance_id, customer_id, kind, ctype, vmid, hostname, spec, request_id, request_hash)
select %(operation_id)s, id, customer_id, 'teardown', ctype, vmid, hostname, spec, %(request_id)s, ''::bytea from i;

-- name: get_operation
-- One operation with its phases; a customer sees only its own. A queue is counted up to 1000, no further.
select o.*,
       (select jsonb_agg(jsonb_build_object('name', p.name, 'status', p.status, 'started_at', p.started_at,
                                            'finished_at', p.finished_at, 'retries', p.retries))
        from operation_phase p where p.operation_id = o.id) as phases,
       case when o.status = 'queued' then
           (select count(*) from (
                select from operation q
                where q.status = 'queued' and (q.created_at, q.id) <= (o.created_at, o.id) limit 1000
            ) as ahead)
       end::int as queue_position
from operation o
where o.id = %(operation_id)s and (%(customer_id)s::text is null or o.customer_id = %(customer_id)s);

-- name: list_operations
-- Operations, newest first, in keyset pages.
select o.*, null::jsonb as phases, null::int as queue_position
from operation o
where (%(customer_id)s::text is null or o.customer_id = %(customer_id)s)
  and (%(status)s::operation_status is null or o.status = %(status)s)
  and (%(kind)s::operation_kind is null or o.kind = %(kind)s)
  and (%(after)s::uuid is null
       or (o.created_at, o.id) < (select a.created_at, a.id from operation a
                                  where a.id = %(after)s
                                    and (%(customer_id)s::text is null or a.customer_id = %(customer_id)s)))
order by o.created_at desc, o.id desc
limit %(limit)s;

-- name: list_events
-- An operation's log after a sequence number, in order and without gaps.
select seq, at, phase, level, message from operation_event
where operation_id = %(operation_id)s and seq > %(after)s order by seq limit %(limit)s;

-- name: list_instances
-- Instances in the order they were ordered, with the active operation. The page before may end with one that is
-- deleted by now.
select i.*, o.id as active_operation from instance i
left join operation o on o.instance_id = i.id and o.status in ('queued', 'running', 'cleaning')
where (%(customer_id)s::text is null or i.customer_id = %(customer_id)s)
  and (%(after)s::uuid is null
       or (i.created_at, i.id) > (
           select a.created_at, a.id
           from (select id, customer_id, created_at from instance
                 union all select id, customer_id, created_at from archived_instance) a
           where a.id = %(after)s and (%(customer_id)s::text is null or a.customer_id = %(customer_id)s)))
order by i.created_at, i.id
limit %(limit)s::int;

-- name: get_instance
-- One instance by its id or its VMID; a customer sees only its own.
select i.*, o.id as active_operation from instance i
left join operation o on o.instance_id = i.id and o.status in ('queued', 'running', 'cleaning')
where (i.id = %(server_id)s::uuid or i.vmid = %(vmid)s::int)
  and (%(customer_id)s::text is null or i.customer_id = %(customer_id)s);

-- name: get_archived
-- When a deleted instance was deleted, for its owner.
select deleted_at from archived_instance
where id = %(server_id)s::uuid and (%(customer_id)s::text is null or customer_id = %(customer_id)s);

-- name: set_proxy_status
-- What the proxy last said of a backend.
update instance set proxy_status = %(proxy_status)s, updated_at = now() where hostname = %(hostname)s;

-- name: claim
-- Take an operation: a new fencing token and a lease on the database's clock. No row: somebody else has it, or it is final.
with claimed as (
update operation
set status = case when status = 'queued' then 'running' else status end,
    fencing_token = fencing_token + 1, attempt = attempt + 1, worker = %(worker)s,
    heartbeat_at = now(), started_at = coalesce(started_at, now()),
    lease_expires_at = now() + make_interval(secs => %(lease_seconds)s),
    deadline_at = coalesce(deadline_at, now() + make_interval(secs => %(deadline_seconds)s))
where id = %(operation_id)s and (status = 'queued' or (status = 'cleaning' and lease_expires_at < now()))
returning *
)
select claimed.*, null::jsonb as phases, null::int as queue_position, pg_notify('hostwright_operation', id::text)
from claimed;

-- name: heartbeat
-- Prolong the lease.
update operation
set heartbeat_at = now(), lease_expires_at = now() + make_interval(secs => %(lease_seconds)s)
where id = %(operation_id)s and fencing_token = %(fencing_token)s and status in ('running', 'cleaning');

-- name: release_lease
-- The worker leaves: nobody need wait for the lease to run out.
update operation set lease_expires_at = now() - interval '1 microsecond'
where id = %(operation_id)s and fencing_token = %(fencing_token)s and status in ('running', 'cleaning');

-- name: enter_phase
-- A phase begins at the moment in which the one before it is done.
with o as (
    update operation set phase = %(phase)s, heartbeat_at = now(), last_seq = last_seq + 1
    where id = %(operation_id)s and fencing_token = %(fencing_token)s and status in ('running', 'cleaning')
    returning id, last_seq, clock_timestamp() as at
), done as (
    update operation_phase p set status = 'ok', finished_at = o.at
    from o where p.operation_id = o.id and p.status = 'running' and p.name <> %(phase)s
), begun as (
    insert into operation_phase (operation_id, name, status, started_at)
    select id, %(phase)s, 'running', at from o
    on conflict (operation_id, name) do update
    set status = 'running', started_at = excluded.started_at, finished_at = null, retries = 0
), logged as (
    insert into operation_event (operation_id, seq, phase, level, message)
    select id, last_seq, %(phase)s, 'info', %(message)s from o returning operation_id
)
select pg_notify('hostwright_operation', operation_id::text) from logged;

-- name: log_event
-- A line of the operation's log.
with o as (
    update operation set heartbeat_at = now(), last_seq = last_seq + 1
    where id = %(operation_id)s and fencing_token = %(fencing_token)s and status in ('running', 'cleaning')
    returning id, last_seq
), logged as (
    insert into operation_event (operation_id, seq, phase, level, message)
    select id, last_seq, %(phase)s, %(level)s, %(message)s from o returning operation_id
)
select pg_notify('hostwright_operation', operation_id::text) from logged;

-- name: count_retry
-- A waiting phase asked again.
with o as (
    update operation set heartbeat_at = now()
    where id = %(operation_id)s and fencing_token = %(fencing_token)s and status in ('running', 'cleaning')
    returning id
), counted as (
    update operation_phase p set retries = %(retries)s
    from o where p.operation_id = o.id and p.name = %(phase)s
)
select pg_notify('hostwright_operation', id::text) from o;

-- name: hold_lease
-- Nobody takes a running operation away before this transaction ends.
select from operation where id = %(operation_id)s and fencing_token = %(fencing_token)s and status = 'running' for update;

-- name: lock_vmid_cursor
-- One allocation at a time in a range.
insert into vmid_cursor (ctype, last) values (%(ctype)s, %(first)s - 1)
on conflict (ctype) do update set last = vmid_cursor.last;

-- name: allocate_vmid
-- The next free VMID of the range, round robin; no row: the range is used up. Runs after hold_lease.
with next as (
    select v from vmid_cursor c, generate_series(%(first)s::int, %(final)s::int) v
    where c.ctype = %(ctype)s
      and not exists (select from instance i where i.vmid = v)
      and not exists (select from foreign_vmid f where f.vmid = v)
    order by v <= c.last, v limit 1
), moved as (
    update vmid_cursor set last = next.v from next where ctype = %(ctype)s
), o as (
    update operation set vmid = next.v from next
    where id = %(operation_id)s and fencing_token = %(fencing_token)s and status = 'running'
    returning operation.vmid, instance_id
)
update instance set vmid = o.vmid, updated_at = now() from o where instance.id = o.instance_id returning instance.vmid;

-- name: set_hostname
-- The host name follows the VMID.
with o as (
    update operation set hostname = %(hostname)s
    where id = %(operation_id)s and fencing_token = %(fencing_token)s and status = 'running'
    returning instance_id
)
update instance set hostname = %(hostname)s, updated_at = now() from o where instance.id = o.instance_id;

-- name: mark_foreign
-- A VMID that the cluster has and that is not ours: never chosen again.
insert into foreign_vmid (vmid) values (%(vmid)s) on conflict (vmid) do update set seen_at = now();

-- name: release_vmid
-- Forget the VMID of an operation that will be given another.
with o as (
    update operation set vmid = null, hostname = null
    where id = %(operation_id)s and fencing_token = %(fencing_token)s and status = 'running'
    returning instance_id
)
update instance set vmid = null, hostname = null, updated_at = now() from o where instance.id = o.instance_id;

-- name: close_phases
-- Every running phase ends so.
with o as (
    update operation set heartbeat_at = now()
    where id = %(operation_id)s and fencing_token = %(fencing_token)s and status in ('running', 'cleaning')
    returning id
), closed as (
    update operation_phase p set status = %(phase_status)s, finished_at = clock_timestamp()
    from o where p.operation_id = o.id and p.status = 'running'
)
select pg_notify('hostwright_operation', id::text) from o;

-- name: finish_operation
-- The end of an operation. Runs with the change of its instance in one transaction.
with o as (
    update operation
    set status = %(status)s, finished_at = clock_timestamp(), lease_expires_at = null, last_seq = last_seq + 1,
        error = coalesce(%(error)s, error), cleanup = coalesce(%(cleanup)s, cleanup)
    where id = %(operation_id)s and fencing_token = %(fencing_token)s and status in ('running', 'cleaning')
    returning id, last_seq, phase
), logged as (
    insert into operation_event (operation_id, seq, phase, level, message)
    select id, last_seq, phase, %(level)s, %(message)s from o returning operation_id
)
select pg_notify('hostwright_operation', operation_id::text) from logged;

-- name: instance_ready
-- A player can join, or the dev container answers.
update instance set status = 'ready', ready_at = now(), updated_at = now(), address = %(address)s
where id = %(instance_id)s;

-- name: instance_failed
-- A provision failed. The VMID goes back unless something of it is still there.
update instance
set status = %(status)s, updated_at = now(),
    vmid = case when %(released)s then null else vmid end,
    hostname = case when %(released)s then null else hostname end
where id = %(instance_id)s and status = 'provisioning';

-- name: archive_instance
-- The instance leaves the table of the living.
with gone as (
    delete from instance where id = %(instance_id)s
    returning id, customer_id, ctype, vmid, hostname, spec, created_at, ready_at
)
insert into archived_instance (id, customer_id, ctype, vmid, hostname, spec, created_at, ready_at)
select id, customer_id, ctype, vmid, hostname, spec, created_at, ready_at from gone;

-- name: begin_cleaning
-- A running operation failed: remember why, then clean up under the same lease.
with o as (
    update operation set status = 'cleaning', error = %(error)s, last_seq = last_seq + 1
    where id = %(operation_id)s and fencing_token = %(fencing_token)s and status = 'running'
    returning id, last_seq, phase
), logged as (
    insert into operation_event (operation_id, seq, phase, level, message)
    select id, last_seq, phase, 'error', %(message)s from o returning operation_id
)
select pg_notify('hostwright_operation', operation_id::text) from logged;

-- name: sweep_lost_provisions
-- Provisions whose worker stopped writing: the token goes up, so a late writer finds nothing, and cleanup is queued.
with lost as (
    select id from operation where status = 'running' and kind = 'provision' and lease_expires_at < now()
    for update skip locked
), o as (
    update operation set status = 'cleaning', error = %(error)s::jsonb || jsonb_build_object('phase', phase),
        fencing_token = fencing_token + 1, last_seq = last_seq + 1, enqueued_at = now()
    from lost where operation.id = lost.id
    returning operation.id, last_seq, phase
), closed as (
    update operation_phase p set status = 'failed', finished_at = now()
    from o where p.operation_id = o.id and p.status = 'running'
), logged as (
    insert into operation_event (operation_id, seq, phase, level, message)
    select id, last_seq, phase, 'error', %(message)s from o
)
select id, pg_notify('hostwright_operation', id::text) from o;

-- name: sweep_lost_teardowns
-- Teardowns whose worker stopped writing fail; asking again continues them.
with lost as (
    select id from operation where status = 'running' and kind = 'teardown' and lease_expires_at < now()
    for update skip locked
), o as (
    update operation set status = 'failed', error = %(error)s::jsonb || jsonb_build_object('phase', phase),
        fencing_token = fencing_token + 1, last_seq = last_seq + 1, finished_at = now(), lease_expires_at = null
    from lost where operation.id = lost.id
    returning operation.id, last_seq, phase
), closed as (
    update operation_phase p set status = 'failed', finished_at = now()
    from o where p.operation_id = o.id and p.status = 'running'
), logged as (
    insert into operation_event (operation_id, seq, phase, level, message)
    select id, last_seq, phase, 'error', %(message)s from o
)
select id, pg_notify('hostwright_operation', id::text) from o;

-- name: sweep_unwoken
-- Operations that wait for a worker longer than they should: their message was lost. While there are messages, a long
-- wait more likely means a long queue, so the doubt is given ten times as long.
with late as (
    select id from operation
    where (status = 'queued' or (status = 'cleaning' and lease_expires_at < now()))
      and enqueued_at < now() - make_interval(secs => %(requeue_seconds)s)
          * case when exists (select from huey_task) then 10 else 1 end
    for update skip locked
)
update operation set enqueued_at = now() from late where operation.id = late.id returning operation.id;

-- name: worker_seen
-- A worker is alive.
insert into worker (id) values (%(worker)s) on conflict (id) do update set seen_at = now();

-- name: worker_gone
-- A worker said good-bye, or has not been seen for a day.
delete from worker where id = %(worker)s or seen_at < now() - interval '1 day';

-- name: live_workers
-- How many workers were seen lately.
select count(*)::int as live from worker where seen_at > now() - make_interval(secs => %(within_seconds)s);
