-- Lost wake-ups, lost workers, and who is alive.

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
