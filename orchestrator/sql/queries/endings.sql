-- How an operation ends, and its instance with it.

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
-- A player can join, or the dev container answers. What the undoing of an earlier try left behind is in use again.
update instance
set status = 'ready', ready_at = coalesce(ready_at, now()), updated_at = now(), address = coalesce(%(address)s, address),
    leaked = '{}', attend_at = null, attend_failures = 0
where id = %(instance_id)s;

-- name: instance_stopped
-- It does not run, and nobody is sent to it.
update instance set status = 'stopped', updated_at = now(), leaked = '{}', attend_at = null, attend_failures = 0
where id = %(instance_id)s and status in ('ready', 'stopped');

-- name: instance_left_running
-- A start failed, and its container may still run: the sweep stops it.
update instance
set leaked = %(leaked)s, updated_at = now(), attend_at = now() + make_interval(secs => %(attend_seconds)s)
where id = %(instance_id)s and status in ('ready', 'stopped');

-- name: instance_failed
-- A provision failed and is undone, as far as could be. While something of it is or may be there it keeps its VMID, and
-- the sweep looks after it.
update instance
set status = 'failed', updated_at = now(), leaked = %(leaked)s,
    vmid = case when %(released)s then null else vmid end,
    hostname = case when %(released)s then null else hostname end,
    attend_at = case when not %(released)s then now() + make_interval(secs => %(attend_seconds)s) end
where id = %(instance_id)s and status = 'provisioning';

-- name: instance_kept
-- A provision failed and its machine is kept for a look.
update instance
set status = 'quarantined', updated_at = now(), leaked = %(leaked)s,
    expires_at = now() + make_interval(secs => %(quarantine_seconds)s)
where id = %(instance_id)s and status = 'provisioning';

-- name: instance_cleaned
-- What a cleanup had left behind is gone, and so is the VMID's reservation.
with i as (
    update instance
    set vmid = null, hostname = null, leaked = '{}', attend_at = null, attend_failures = 0, updated_at = now()
    where id = %(instance_id)s and status = 'failed' returning id
)
update operation set cleanup = jsonb_set(cleanup, '{leaked}', '[]')
from i where operation.instance_id = i.id and cleanup is not null;

-- name: attend_later
-- What the sweep began for an instance failed: again after twice as long, an hour at most.
update instance
set attend_at = now() + make_interval(secs => least(%(attend_seconds)s * power(2, least(attend_failures, 20)), 3600)),
    attend_failures = attend_failures + 1, updated_at = now()
where id = %(instance_id)s;

-- name: strike_superseded
-- What was published anew has taken the place of what was recorded before under the same name.
delete from publication old using publication new
where old.instance_id = %(instance_id)s and new.instance_id = old.instance_id
  and (new.driver, new.place, new.type, new.name) = (old.driver, old.place, old.type, old.name)
  and new.recorded_at > old.recorded_at;

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
