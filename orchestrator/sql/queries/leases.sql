-- What a worker writes under a lease: the fencing token is in the WHERE; no row touched means that the lease is lost.

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
