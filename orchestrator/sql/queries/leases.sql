-- What a worker writes under a lease: the fencing token is in the WHERE; no row touched means that the lease is lost.

-- name: lock_claims
-- One claim at a time, so that the limits hold over all workers.
select pg_advisory_xact_lock(hashtext('hostwright claim'));

-- name: next_waiting
-- Whose turn it is, if a limit leaves room: what was interrupted first, then what was asked for, then work of our own,
-- unless it has waited for ten minutes; of the customers the one with the fewest running, then the one whose turn is
-- longest ago; of its own the oldest. `held_in` is the state that an instance must have, by kind.
with held as (
    select customer_id, node from operation
    where status in ('running', 'cleaning') and lease_expires_at > now()
), busy as (
    select count(*) as everywhere, count(*) filter (where node = %(node)s) as here from held
)
select o.id
from operation o
join customer c on c.id = o.customer_id
cross join busy
where (o.status = 'queued' or (o.status = 'cleaning' and o.lease_expires_at < now()))
  and o.id <> all(%(passed_over)s)
  and not exists (
      -- What its claim would refuse must not stand in the way of the others, nor what is not due yet.
      select from instance i
      where i.id = o.instance_id
        and (i.status::text <> %(held_in)s::jsonb ->> o.kind or (i.status = 'deleting' and i.attend_at > now()))
  )
  and busy.everywhere < %(concurrency)s and (%(node_concurrency)s::int is null or busy.here < %(node_concurrency)s)
order by
    o.background and o.created_at > now() - interval '10 minutes', o.attempt = 0,
    (select count(*) from held where held.customer_id = o.customer_id),
    c.served_at nulls first, o.created_at, o.id
limit 1;

-- name: claim
-- Take an operation: a new fencing token and a lease on the database's clock. No row: somebody else has it, it is final,
-- or its instance is not in the state that its kind needs, as one that is provisioned already. `left_seconds` is what remains until its deadline.
with claimed as (
    update operation
    set status = case when status = 'queued' then 'running' else status end,
        fencing_token = fencing_token + 1, attempt = attempt + 1, worker = %(worker)s, node = %(node)s,
        heartbeat_at = now(), started_at = coalesce(started_at, now()),
        lease_expires_at = now() + make_interval(secs => %(lease_seconds)s),
        deadline_at = coalesce(
            deadline_at, now() + make_interval(secs => coalesce((%(deadlines)s::jsonb ->> kind)::float, 0))
        )
    where id = %(operation_id)s
      and (status = 'queued' or (status = 'cleaning' and lease_expires_at < now()))
      and (
          %(held_in)s::jsonb ->> kind is null
          or exists (
              select from instance i where i.id = instance_id and i.status::text = %(held_in)s::jsonb ->> kind
          )
      )
    returning *
), served as (
    update customer set served_at = clock_timestamp() from claimed where customer.id = claimed.customer_id
)
select claimed.*, null::jsonb as phases, null::int as queue_position,
       extract(epoch from deadline_at - now())::float as left_seconds,
       exists (select from instance i where i.id = claimed.instance_id and i.status = 'ready') as was_ready,
       coalesce(
           (select jsonb_agg(to_jsonb(p) - '{instance_id,recorded_at}'::text[])
            from publication p where p.instance_id = claimed.instance_id),
           '[]'
       ) as publications,
       not exists (
           select from instance i where i.id = claimed.instance_id and not i.publications_known
       ) as publications_known,
       pg_notify('hostwright_operation', id::text)
from claimed;

-- name: record_publication
-- Something is about to be published: its record comes first.
with o as (
    update operation set heartbeat_at = now()
    where id = %(operation_id)s and fencing_token = %(fencing_token)s and status in ('running', 'cleaning')
    returning instance_id
)
insert into publication (instance_id, driver, place, type, name, value)
select instance_id, %(driver)s, %(place)s, %(type)s, %(name)s, %(value)s from o
on conflict (instance_id, driver, place, type, name, value) do update set recorded_at = excluded.recorded_at;

-- name: strike_publication
-- It is gone from the world, so it is struck out. The operation's row comes back whether or not there was a record.
with o as (
    update operation set heartbeat_at = now()
    where id = %(operation_id)s and fencing_token = %(fencing_token)s and status in ('running', 'cleaning')
    returning instance_id
), struck as (
    delete from publication p using o
    where p.instance_id = o.instance_id
      and (p.driver, p.place, p.type, p.name, p.value)
          = (%(driver)s, %(place)s, %(type)s, %(name)s, %(value)s)
)
select instance_id from o;

-- name: heartbeat
-- Prolong the lease, and hear whether somebody wants the operation cancelled. A lease that has run out stays so: its place may
-- be somebody else's by now, and its worker has stopped itself.
update operation
set heartbeat_at = now(), lease_expires_at = now() + make_interval(secs => %(lease_seconds)s)
where id = %(operation_id)s and fencing_token = %(fencing_token)s and status in ('running', 'cleaning')
  and lease_expires_at > now()
returning cancel_requested_at is not null as cancelled;

-- name: hand_over
-- The worker leaves: another goes on where this one stopped, and nobody need wait for the lease to run out.
with o as (
    update operation
    set status = case when status = 'running' then 'queued' else status end, fencing_token = fencing_token + 1,
        lease_expires_at = case when status = 'running' then null else now() - interval '1 microsecond' end,
        enqueued_at = now(), last_seq = last_seq + 1
    where id = %(operation_id)s and fencing_token = %(fencing_token)s and status in ('running', 'cleaning')
    returning id, last_seq, phase
), halted as (
    update operation_phase p set status = 'pending', finished_at = null
    from o where p.operation_id = o.id and p.status = 'running'
), logged as (
    insert into operation_event (operation_id, seq, phase, level, message)
    select id, last_seq, phase, 'info', %(message)s from o returning operation_id
)
select pg_notify('hostwright_operation', operation_id::text) from logged;

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
-- Nobody takes a running operation away, or asks for its cancel, before this transaction ends.
select cancel_requested_at is not null as cancelled from operation
where id = %(operation_id)s and fencing_token = %(fencing_token)s and status = 'running' for update;

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
    update operation set vmid = null, hostname = null, clone_upid = null
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

-- name: note_clone
-- Proxmox's task of the running clone.
update operation set clone_upid = %(upid)s
where id = %(operation_id)s and fencing_token = %(fencing_token)s and status in ('running', 'cleaning');

-- name: record_cleanup
-- How far a cleanup has come.
with o as (
    update operation set cleanup = %(cleanup)s, heartbeat_at = now()
    where id = %(operation_id)s and fencing_token = %(fencing_token)s and status = 'cleaning'
    returning id
)
select pg_notify('hostwright_operation', id::text) from o;
