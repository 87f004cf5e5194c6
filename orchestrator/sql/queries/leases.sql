-- What a worker writes under a lease. The fragment `held` asks for the fencing token in the WHERE clause, so a query
-- that touches no row tells that the lease is lost.

-- name: lock_claims
-- Let one worker claim at a time, so that the limits hold over all workers.
select pg_advisory_xact_lock(hashtext('hostwright claim'));

-- name: next_waiting
-- Find the operation whose turn it is, if the limits leave room. An interrupted operation comes before a new one, and
-- background work comes last until it has waited for ten minutes. Among customers it is the turn of the one with the
-- fewest running, then of the one served longest ago, and its oldest operation is taken. `held_in` names the state that
-- an instance must have, by kind.
with held as (
    select customer_id, node from operation
    where status in ('running', 'cleaning') and lease_expires_at > now()
), busy as (
    select count(*) as everywhere, count(*) filter (where node = %(node)s) as here from held
)
select o.id, o.fencing_token
from operation o
join customer c on c.id = o.customer_id
cross join busy
where {{waiting}}
  and {{unread}}
  and not exists (
      -- An operation that its claim would refuse, or that is not due yet, must not block the others.
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
-- Take an operation with a new fencing token and a lease on the database's clock. No row means that somebody else has
-- it, that it is final, or that its instance is not in the state that its kind needs. `left_seconds` is the time that
-- remains until its deadline. `works_in` names the state that the instance gets, by kind.
with claimed as (
    update operation
    set status = case when status = 'queued' then 'running' else status end,
        fencing_token = fencing_token + 1, attempt = attempt + 1, worker = %(worker)s, node = %(node)s,
        heartbeat_at = now(), started_at = coalesce(started_at, now()),
        lease_expires_at = now() + make_interval(secs => %(lease_seconds)s), due_at = null,
        deadline_at = coalesce(
            deadline_at, now() + make_interval(secs => coalesce((%(deadlines)s::jsonb ->> kind)::float, 0))
        )
    where id = %(operation_id)s
      and {{waiting}}
      and (
          %(held_in)s::jsonb ->> kind is null
          or exists (
              select from instance i where i.id = instance_id and i.status::text = %(held_in)s::jsonb ->> kind
          )
      )
    returning *
), taken as (
    update instance set status = (%(works_in)s::jsonb ->> kind)::instance_status, updated_at = now()
    from claimed where instance.id = instance_id and %(works_in)s::jsonb ? kind
      and instance.status::text <> %(works_in)s::jsonb ->> kind
), served as (
    update customer set served_at = clock_timestamp() from claimed where customer.id = claimed.customer_id
)
select o.*, {{phases}}, null::int as queue_position,
       extract(epoch from deadline_at - now())::float as left_seconds,
       extract(epoch from now() - created_at)::float as age_seconds,
       (select i.status = 'ready' from instance i where i.id = o.instance_id) is true as was_ready,
       coalesce(
           (select jsonb_agg(to_jsonb(p) order by p.recorded_at, p.driver, p.place, p.type, p.name, p.value)
            from publication p where p.instance_id = o.instance_id),
           '[]'
       ) as publications,
       not exists (
           select from instance i where i.id = o.instance_id and not i.publications_known
       ) as publications_known,
       {{notify}}
from claimed o;

-- name: record_publication
-- Keep what is about to be published. The record comes before the deed. Its time tells the order within a transaction,
-- too: what was recorded last is taken back first.
with o as (
    update operation set heartbeat_at = now()
    where {{held}}
    returning instance_id
)
insert into publication (instance_id, driver, place, type, name, value, recorded_at)
select instance_id, %(driver)s, %(place)s, %(type)s, %(name)s, %(value)s, clock_timestamp() from o
on conflict (instance_id, driver, place, type, name, value) do update set recorded_at = excluded.recorded_at;

-- name: strike_publication
-- Strike out what is no longer published. The operation's row comes back whether or not there was a record.
with o as (
    update operation set heartbeat_at = now()
    where {{held}}
    returning instance_id
), struck as (
    delete from publication p using o
    where p.instance_id = o.instance_id
      and (p.driver, p.place, p.type, p.name, p.value) = (%(driver)s, %(place)s, %(type)s, %(name)s, %(value)s)
)
select instance_id from o;

-- name: heartbeat
-- Prolong the lease and ask whether somebody wants the operation cancelled. A lease that has ended cannot be prolonged:
-- another worker may hold the operation by now, and this one has stopped its run.
update operation
set heartbeat_at = now(), lease_expires_at = now() + make_interval(secs => %(lease_seconds)s)
where {{held}} and lease_expires_at > now()
returning cancel_requested_at is not null as cancelled;

-- name: hand_over
-- Give an operation back because its worker leaves or cannot work. Another one continues it at once, though the lease
-- has not ended. A worker of the release before leaves due_at as it was, so that it is taken away here, too.
with o as (
    update operation
    set status = case when status = 'running' then 'queued' else status end, fencing_token = fencing_token + 1,
        lease_expires_at = case when status = 'running' then null else now() - interval '1 microsecond' end,
        enqueued_at = now(), due_at = null, last_seq = last_seq + 1
    where {{held}}
    returning id, last_seq, phase, 'info' as level, %(message)s as message
), halted as (
    update operation_phase p set status = 'pending', finished_at = null
    from o where p.operation_id = o.id and p.status = 'running'
), {{logged}}
select {{notify}} from o;

-- name: put_off
-- Give an operation back until somebody outside takes requests again. Its deadline is put off as well, and of the
-- attempts that end so only the first is counted: 0 would mean that nothing was begun.
with o as (
    update operation
    set status = 'queued', fencing_token = fencing_token + 1, lease_expires_at = null, enqueued_at = now(),
        attempt = greatest(attempt - 1, 1),
        due_at = case when cancel_requested_at is null then now() + make_interval(secs => %(seconds)s) end,
        deadline_at = deadline_at + make_interval(secs => %(seconds)s), last_seq = last_seq + 1
    where {{held}} and status = 'running'
    returning id, last_seq, phase, 'warning' as level, %(message)s as message
), halted as (
    update operation_phase p set status = 'pending', finished_at = null
    from o where p.operation_id = o.id and p.name = o.phase
), {{logged}}
select {{notify}} from o;

-- name: enter_phase
-- Begin a phase. The phase before it ends at the same moment.
with o as (
    update operation set phase = %(phase)s, heartbeat_at = now(), last_seq = last_seq + 1
    where {{held}}
    returning id, last_seq, clock_timestamp() as at, %(phase)s as phase, 'info' as level, %(message)s as message
), done as (
    update operation_phase p set status = 'ok', finished_at = o.at
    from o where p.operation_id = o.id and p.status = 'running' and p.name <> %(phase)s
), begun as (
    insert into operation_phase (operation_id, name, status, started_at)
    select id, %(phase)s, 'running', at from o
    on conflict (operation_id, name) do update
    set status = 'running', started_at = excluded.started_at, finished_at = null, retries = 0
), {{logged}}
select {{notify}} from o;

-- name: log_event
-- Write a line into the operation's log.
with o as (
    update operation set heartbeat_at = now(), last_seq = last_seq + 1
    where {{held}}
    returning id, last_seq, %(phase)s as phase, %(level)s as level, %(message)s as message
), {{logged}}
select {{notify}} from o;

-- name: count_retry
-- Count how often a waiting phase has asked again.
with o as (
    update operation set heartbeat_at = now()
    where {{held}}
    returning id
), counted as (
    update operation_phase p set retries = %(retries)s
    from o where p.operation_id = o.id and p.name = %(phase)s
)
select {{notify}} from o;

-- name: hold_lease
-- Lock a running operation, so that nobody takes it over or cancels it before this transaction ends.
select cancel_requested_at is not null as cancelled from operation
where {{held}} and status = 'running' for update;

-- name: lock_vmid_cursor
-- Let one worker allocate at a time in a range.
insert into vmid_cursor (ctype, last) values (%(ctype)s, %(first)s - 1)
on conflict (ctype) do update set last = vmid_cursor.last;

-- name: allocate_vmid
-- Take the next free VMID of a range, round robin. No row means that the range is used up. Runs after hold_lease.
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
    where {{held}} and status = 'running'
    returning operation.vmid, instance_id
)
update instance set vmid = o.vmid, updated_at = now() from o where instance.id = o.instance_id returning instance.vmid;

-- name: set_hostname
-- Give an instance its host name, which is made from its VMID.
with o as (
    update operation set hostname = %(hostname)s
    where {{held}} and status = 'running'
    returning instance_id
)
update instance set hostname = %(hostname)s, updated_at = now() from o where instance.id = o.instance_id;

-- name: mark_foreign
-- Remember a VMID that somebody else uses on the cluster. It is never chosen again.
insert into foreign_vmid (vmid) values (%(vmid)s) on conflict (vmid) do update set seen_at = now();

-- name: release_vmid
-- Take the VMID off an operation that will be given another.
with o as (
    update operation set vmid = null, hostname = null, clone_upid = null
    where {{held}} and status = 'running'
    returning instance_id
)
update instance set vmid = null, hostname = null, updated_at = now() from o where instance.id = o.instance_id;

-- name: close_phases
-- End every running phase with a status.
with o as (
    update operation set heartbeat_at = now()
    where {{held}}
    returning id
), closed as (
    update operation_phase p set status = %(status)s, finished_at = clock_timestamp()
    from o where p.operation_id = o.id and p.status = 'running'
)
select {{notify}} from o;

-- name: note_clone
-- Keep Proxmox's task of the running clone.
update operation set clone_upid = %(upid)s
where {{held}};

-- name: record_cleanup
-- Keep how far a cleanup has come.
with o as (
    update operation set cleanup = %(cleanup)s, heartbeat_at = now()
    where {{held}} and status = 'cleaning'
    returning id
)
select {{notify}} from o;
