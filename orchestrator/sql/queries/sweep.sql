-- Lost wake-ups, lost workers, and who is alive.

-- name: sweep_lost
-- Operations whose worker stopped writing. The token goes up, so a late writer finds nothing. The first loss is resumed; after
-- another, or a cancel that nobody heard, what can be undone is undone, and the rest fails.
with lost as (
    select id, case when losses = 0 and cancel_requested_at is null then 'queued'
                    when kind = any(%(undoable)s) then 'cleaning'
                    else 'failed' end::operation_status as becomes
    from operation where status = 'running' and lease_expires_at < now() and kind = any(%(kinds)s)
    for update skip locked
), o as (
    update operation
    set status = becomes, losses = losses + 1, fencing_token = fencing_token + 1, last_seq = last_seq + 1,
        enqueued_at = now(),
        lease_expires_at = case when becomes = 'cleaning' then lease_expires_at end,
        finished_at = case when becomes = 'failed' then now() end,
        error = case when becomes = 'queued' then error
                     when cancel_requested_at is not null then %(cancelled)s::jsonb || jsonb_build_object('phase', phase)
                     else %(lost)s::jsonb || jsonb_build_object('phase', phase) end
    from lost where operation.id = lost.id
    returning operation.id, instance_id, last_seq, phase, becomes, error
), halted as (
    update operation_phase p
    set status = case when becomes = 'queued' then 'pending' else 'failed' end::phase_status,
        finished_at = case when becomes <> 'queued' then now() end
    from o where p.operation_id = o.id and p.status = 'running'
), logged as (
    insert into operation_event (operation_id, seq, phase, level, message)
    select id, last_seq, phase, case when becomes = 'queued' then 'warning' else 'error' end,
           case when becomes = 'queued' then %(resumed)s else error ->> 'message' end
    from o
), later as (
    -- A deletion or a cleanup that failed is taken up again by the sweep.
    update instance set attend_at = now() + make_interval(secs => %(attend_seconds)s)
    from o where instance.id = o.instance_id and becomes = 'failed' and instance.status in ('deleting', 'failed')
)
select id, pg_notify('hostwright_operation', id::text) from o;

-- name: sweep_overdue
-- Orders that waited too long for a worker fail, while nothing was done for them. The machine of a retry stays kept.
with late as (
    select id from operation
    where status = 'queued' and attempt = 0 and kind = any(%(cancellable)s) and not background
      and created_at < now() - make_interval(secs => %(queue_seconds)s)
    for update skip locked
), o as (
    update operation
    set status = 'failed', error = %(error)s, finished_at = now(), last_seq = last_seq + 1
    from late where operation.id = late.id
    returning operation.id, instance_id, last_seq, retry_of
), failed as (
    update instance
    set status = case when retry_of is null then 'failed' else 'quarantined' end::instance_status, updated_at = now(),
        expires_at = case when retry_of is not null then now() + make_interval(secs => %(quarantine_seconds)s) end
    from o where instance.id = o.instance_id and instance.status = 'provisioning'
), logged as (
    insert into operation_event (operation_id, seq, level, message)
    select id, last_seq, 'error', %(message)s from o
)
select id, pg_notify('hostwright_operation', id::text) from o;

-- name: sweep_unattended
-- Instances that need something nobody asks for: what a cleanup or a deletion left behind, a quarantine that is over, a server
-- that runs although its customer's account is stopped or its start failed. One operation each.
with due as (
    select i.id, %(kind_of)s::jsonb ->> i.status::text as kind
    from instance i join customer c on c.id = i.customer_id
    where not exists (
        select from operation o where o.instance_id = i.id and o.status in ('queued', 'running', 'cleaning')
    ) and (
        (i.status in ('failed', 'deleting') and i.attend_at < now())
        or (i.status = 'quarantined' and i.expires_at < now())
        or (i.status in ('ready', 'stopped') and i.leaked <> '{}' and (i.attend_at is null or i.attend_at < now()))
        or (i.status = 'ready' and c.billing_state = any(%(stopped_states)s::billing_state[])
            and (i.attend_at is null or i.attend_at < now()))
    )
    for update of i skip locked
), i as (
    update instance
    set status = case when instance.status = 'quarantined' then 'deleting' else instance.status end,
        attend_at = null, expires_at = null, updated_at = now()
    from due where instance.id = due.id
    returning instance.id, customer_id, ctype, vmid, hostname, spec, status, due.kind
), o as (
    insert into operation (id, instance_id, customer_id, kind, ctype, vmid, hostname, spec, request_id, request_hash, background)
    select gen_random_uuid(), id, customer_id, kind, ctype, vmid, hostname, spec, gen_random_uuid(), ''::bytea,
           status in ('failed', 'deleting') from i
    -- Somebody's request may have come between the look and the lock.
    on conflict (instance_id) where status in ('queued', 'running', 'cleaning') do nothing
    returning id
)
select id, pg_notify('hostwright_operation', id::text) from o;

-- name: sweep_unwanted
-- Starts that wait although their customer's account was stopped meanwhile.
with o as (
    update operation
    set status = 'cancelled', error = %(error)s, finished_at = now(), last_seq = last_seq + 1
    from customer c
    where c.id = operation.customer_id and c.billing_state = any(%(stopped_states)s::billing_state[])
      and operation.kind = any(%(running)s) and operation.status = 'queued' and operation.attempt = 0
    returning operation.id, last_seq
), logged as (
    insert into operation_event (operation_id, seq, level, message)
    select id, last_seq, 'info', %(message)s from o
)
select id, pg_notify('hostwright_operation', id::text) from o;

-- name: sweep_unwoken
-- Operations that wait although no message is there to wake a worker: as many as there can be workers for.
with late as (
    select id from operation
    where (status = 'queued' or (status = 'cleaning' and lease_expires_at < now())) and kind = any(%(kinds)s)
      and enqueued_at < now() - make_interval(secs => %(requeue_seconds)s)
      and not exists (select from huey_task)
    order by enqueued_at limit %(concurrency)s
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
