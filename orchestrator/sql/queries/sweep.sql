-- The sweeps for lost wake-ups and lost workers, and which workers are alive.

-- name: sweep_lost
-- Take operations away from workers that stopped writing. The fencing token goes up, so a late writer finds no row. An
-- operation is resumed after its first loss. After another one, or when it is to be cancelled, it is undone if its kind
-- can be, and fails otherwise.
with lost as (
    select id, case when losses = 0 and cancel_requested_at is null then 'queued'
                    when kind = any(%(undoable)s) then 'cleaning'
                    else 'failed' end::operation_status as becomes
    from operation where status = 'running' and lease_expires_at < now() and kind = any(%(kinds)s)
    for update skip locked
), o as (
    update operation
    set status = becomes, losses = losses + 1, fencing_token = fencing_token + 1, last_seq = last_seq + 1,
        enqueued_at = now(), due_at = null,
        lease_expires_at = case when becomes = 'cleaning' then lease_expires_at end,
        finished_at = case when becomes = 'failed' then now() end,
        error = case when becomes = 'queued' then error
                     else case when cancel_requested_at is null then %(lost)s::jsonb else %(cancelled)s::jsonb end
                          || jsonb_build_object('phase', phase)
                end
    from lost where operation.id = lost.id
    returning operation.id, instance_id, last_seq, phase, becomes,
              case when becomes = 'queued' then 'warning' else 'error' end as level,
              case when becomes = 'queued' then %(resumed)s else error ->> 'message' end as message
), halted as (
    update operation_phase p
    set status = case when becomes = 'queued' then 'pending' else 'failed' end::phase_status,
        finished_at = case when becomes <> 'queued' then now() end
    from o where p.operation_id = o.id and p.status = 'running'
), {{logged}}, later as (
    -- Have the sweep look after what was left half-way.
    update instance
    set attend_at = now() + make_interval(secs => %(attend_seconds)s), failing_since = coalesce(failing_since, now())
    from o where instance.id = o.instance_id and becomes = 'failed'
)
select id, {{notify}} from o;

-- name: sweep_overdue
-- Fail the orders that waited too long for a worker. One that was begun, and was put back because its workers could not
-- work or put off, has until its deadline, too; the sweep then looks for what it may have made. The machine of a retry
-- stays kept.
with late as (
    select id, attempt > 0 as begun,
           case when attempt > 0 then jsonb_build_object('detail', jsonb_build_object('worker', (
               select e.message from operation_event e where e.operation_id = operation.id and e.seq = last_seq
           ))) else '{}' end as reason
    from operation
    where status = 'queued' and (attempt = 0 or deadline_at < now()) and kind = any(%(cancellable)s) and not background
      and created_at < now() - make_interval(secs => %(queue_seconds)s)
    for update skip locked
), o as (
    update operation
    set status = 'failed', error = %(error)s::jsonb || reason, finished_at = now(), due_at = null,
        last_seq = last_seq + 1
    from late where operation.id = late.id
    returning operation.id, instance_id, last_seq, retry_of, phase, begun, 'error' as level, %(message)s as message
), failed as (
    update instance
    set status = case when retry_of is null then 'failed' else 'quarantined' end::instance_status, updated_at = now(),
        attend_at = case when leaked <> '{}' or begun then now() end,
        expires_at = case when retry_of is not null then now() + make_interval(secs => %(quarantine_seconds)s) end
    from o where instance.id = o.instance_id and instance.status = 'provisioning'
), half_started as (
    update instance
    set status = 'stopping', attend_at = now(), updated_at = now(),
        leaked = array_append(array_remove(leaked, 'container:' || vmid), 'container:' || vmid),
        failing_since = coalesce(failing_since, now())
    from o where instance.id = o.instance_id and instance.status in ('stopping', 'stopped') and begun
), {{logged}}
select id, {{notify}} from o;

-- name: sweep_unattended
-- Begin an operation for each instance that needs one although nobody asks for it: something was left half-way or
-- behind, a quarantine is over, or a server runs although its account is stopped. The kind follows from its status.
with candidates as (
    -- Each of these has an index, so a server that needs nothing is not read.
    select id from instance where attend_at < now()
    union all
    select id from instance where expires_at < now()
    union all
    select id from instance where leaked <> '{}'
    union all
    select i.id from customer c join instance i on i.customer_id = c.id and i.status = 'ready'
    where c.billing_state = any(%(stopped_states)s::billing_state[])
), due as (
    select i.id,
           case when i.expires_at < now() then %(expired)s else %(kind_of)s::jsonb ->> i.status::text end as kind
    from instance i join customer c on c.id = i.customer_id
    where i.id in (select id from candidates) and %(kind_of)s::jsonb ? i.status::text
      and not exists (
          select from operation o where o.instance_id = i.id and o.status in ('queued', 'running', 'cleaning')
      ) and (
          i.attend_at < now()
          or i.expires_at < now()
          or (i.attend_at is null and (
              i.leaked <> '{}' or (i.status = 'ready' and c.billing_state = any(%(stopped_states)s::billing_state[]))
          ))
      )
    for update of i skip locked
), i as (
    update instance
    set status = coalesce((%(held_in)s::jsonb ->> due.kind)::instance_status, instance.status),
        attend_at = null, expires_at = case when due.kind <> %(expired)s then expires_at end, updated_at = now()
    from due where instance.id = due.id
    returning instance.id, customer_id, ctype, vmid, hostname, spec, status, due.kind
), o as (
    insert into operation
        (id, instance_id, customer_id, kind, ctype, vmid, hostname, spec, request_id, request_hash, background)
    select gen_random_uuid(), id, customer_id, kind, ctype, vmid, hostname, spec, gen_random_uuid(), ''::bytea,
           status in ('failed', 'deleting', 'quarantined') from i
    -- A request may have come between reading the instance and locking it.
    on conflict (instance_id) where status in ('queued', 'running', 'cleaning') do nothing
    returning id
)
select id, {{notify}} from o;

-- name: sweep_unwanted
-- Cancel the starts that wait although the account of their customer was stopped meanwhile.
with o as (
    update operation
    set status = 'cancelled', error = %(error)s, finished_at = now(), last_seq = last_seq + 1
    from customer c
    where c.id = operation.customer_id and c.billing_state = any(%(stopped_states)s::billing_state[])
      and operation.kind = any(%(running)s) and operation.status = 'queued' and operation.attempt = 0
    returning operation.id, last_seq, phase, 'info' as level, %(message)s as message
), {{logged}}
select id, {{notify}} from o;

-- name: sweep_unwoken
-- Find operations that wait although no message is left to wake a worker, at most as many as may run at once.
with late as (
    select o.id from operation o
    where {{waiting}} and o.kind = any(%(kinds)s) and {{unread}}
      and o.enqueued_at < now() - make_interval(secs => %(requeue_seconds)s)
      and not exists (select from huey_task)
    order by o.enqueued_at limit %(concurrency)s
    for update skip locked
)
update operation set enqueued_at = now() from late where operation.id = late.id returning operation.id;

-- name: worker_seen
-- Keep that a worker is alive.
insert into worker (id) values (%(worker)s) on conflict (id) do update set seen_at = now();

-- name: worker_gone
-- Forget a worker that leaves, and those that were not seen for a day.
delete from worker where id = %(worker)s or seen_at < now() - interval '1 day';

-- name: live_workers
-- Count the workers that were seen lately.
select count(*)::int as live from worker where seen_at > now() - make_interval(secs => %(within_seconds)s);
