-- How an operation ends, and its instance with it.

-- name: finish_operation
-- End an operation, in one transaction with the change of its instance.
with o as (
    update operation
    set status = %(status)s, finished_at = clock_timestamp(), lease_expires_at = null, last_seq = last_seq + 1,
        error = coalesce(%(error)s, error), cleanup = coalesce(%(cleanup)s, cleanup)
    where {{held}}
    returning id, last_seq, phase, %(level)s as level, %(message)s as message
), {{logged}}
select {{notify}} from o;

-- name: instance_ready
-- Make an instance ready: a player can join, or the dev container answers. What an earlier try had left behind is in
-- use again.
update instance
set status = 'ready', ready_at = coalesce(ready_at, now()), updated_at = now(),
    address = coalesce(%(address)s, address),
    leaked = '{}', attend_at = null, attend_failures = 0, failing_since = null
where id = %(instance_id)s;

-- name: instance_stopped
-- Make an instance stopped: its server does not run, and no player is sent to it.
update instance
set status = 'stopped', updated_at = now(), leaked = '{}', attend_at = null, attend_failures = 0, failing_since = null
where id = %(instance_id)s and status in ('ready', 'stopping', 'stopped');

-- name: instance_left_running
-- Have the sweep stop a container that may still run although its start failed.
update instance
set status = 'stopping', leaked = %(leaked)s, updated_at = now(), failing_since = coalesce(failing_since, now()),
    attend_at = now() + make_interval(secs => %(attend_seconds)s)
where id = %(instance_id)s and status in ('ready', 'stopping', 'stopped');

-- name: instance_failed
-- Make an instance failed after its provision was undone as far as possible. It keeps its VMID while something of it is
-- or may be left, and the sweep looks after it.
update instance
set status = 'failed', updated_at = now(), leaked = %(leaked)s,
    vmid = case when %(released)s then null else vmid end,
    hostname = case when %(released)s then null else hostname end,
    attend_at = case when not %(released)s then now() + make_interval(secs => %(attend_seconds)s) end,
    failing_since = case when %(leaked)s::text[] <> '{}' then coalesce(failing_since, now()) end
where id = %(instance_id)s and status = 'provisioning';

-- name: instance_kept
-- Keep the machine of a failed provision, so that somebody can look at it. What is left of it at the edge, the sweep
-- looks after.
update instance
set status = 'quarantined', updated_at = now(), leaked = %(leaked)s,
    attend_at = case when %(leaked)s::text[] <> '{}' then now() + make_interval(secs => %(attend_seconds)s) end,
    failing_since = case when %(leaked)s::text[] <> '{}' then coalesce(failing_since, now()) end,
    expires_at = now() + make_interval(secs => %(quarantine_seconds)s)
where id = %(instance_id)s and status = 'provisioning';

-- name: instance_cleaned
-- Free the VMID of a failed instance, because nothing of it is left behind any more.
with i as (
    update instance
    set vmid = null, hostname = null, updated_at = now(),
        leaked = '{}', attend_at = null, attend_failures = 0, failing_since = null
    where id = %(instance_id)s and status = 'failed' returning id
)
update operation set cleanup = jsonb_set(cleanup, '{leaked}', '[]')
from i where operation.instance_id = i.id and cleanup is not null;

-- name: instance_unpublished
-- Keep a machine on, of which nothing is published any more.
with i as (
    update instance
    set leaked = '{}', attend_at = null, attend_failures = 0, failing_since = null, updated_at = now()
    where id = %(instance_id)s and status = 'quarantined' returning id
)
update operation set cleanup = jsonb_set(cleanup, '{leaked}', '[]')
from i where operation.instance_id = i.id and cleanup is not null;

-- name: attend_later
-- Have the sweep try again what failed for an instance, each time after twice as long and after an hour at most.
update instance
set attend_at = now() + make_interval(secs => least(%(attend_seconds)s * power(2, least(attend_failures, 20)), 3600)),
    attend_failures = attend_failures + 1, failing_since = coalesce(failing_since, now()), updated_at = now()
where id = %(instance_id)s;

-- name: strike_superseded
-- Strike out what was replaced: a newer record of the same name was published in its place.
delete from publication old using publication new
where old.instance_id = %(instance_id)s and new.instance_id = old.instance_id
  and (new.driver, new.place, new.type, new.name) = (old.driver, old.place, old.type, old.name)
  and new.recorded_at > old.recorded_at;

-- name: archive_instance
-- Move a deleted instance into the archive. The `env` of its order may hold secrets, so it goes with the server, out of
-- all its operations too.
with gone as (
    delete from instance where id = %(instance_id)s
    returning id, customer_id, ctype, vmid, hostname, spec - 'env' as spec, created_at, ready_at
), emptied as (
    update operation set spec = operation.spec - 'env' from gone where operation.instance_id = gone.id
)
insert into archived_instance (id, customer_id, ctype, vmid, hostname, spec, created_at, ready_at)
select id, customer_id, ctype, vmid, hostname, spec, created_at, ready_at from gone;

-- name: begin_cleaning
-- Keep why a running operation failed, and clean up under the same lease.
with o as (
    update operation set status = 'cleaning', error = %(error)s, last_seq = last_seq + 1
    where {{held}} and status = 'running'
    returning id, last_seq, phase, 'error' as level, %(message)s as message
), {{logged}}
select {{notify}} from o;
