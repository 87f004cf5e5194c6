-- What many queries have in common. A query includes one as {{name}}, where it stands for the text below its name.

-- name: active
-- The operation that holds the instance `i` now. It is looked up for each instance, because a join may read all that are
-- active for each.
(select o.id from operation o
 where o.instance_id = i.id and o.status in ('queued', 'running', 'cleaning')) as active_operation;

-- name: held
-- The operation that a worker holds: nobody has taken it over, and it has not ended.
id = %(operation_id)s and fencing_token = %(fencing_token)s and status in ('running', 'cleaning');

-- name: logged
-- A line in the log of each operation of `o`, which has raised last_seq for it and says phase, level and message.
logged as (
    insert into operation_event (operation_id, seq, phase, level, message)
    select id, last_seq, phase, level, message from o
);

-- name: notify
-- Tells whoever listens that the operation of this id has changed; PostgreSQL sends it when the transaction commits.
pg_notify('hostwright_operation', id::text);

-- name: phases
-- The phases that the operation `o` has begun.
(select jsonb_agg(jsonb_build_object('name', p.name, 'status', p.status, 'started_at', p.started_at,
                                     'finished_at', p.finished_at, 'retries', p.retries))
 from operation_phase p where p.operation_id = o.id) as phases;

-- name: records
-- What is published of the instance `i`, if it is ready.
(select jsonb_agg(jsonb_build_object('driver', p.driver, 'place', p.place, 'type', p.type, 'name', p.name,
                                     'value', p.value) order by p.recorded_at)
 from publication p where p.instance_id = i.id and i.status = 'ready') as records;

-- name: due
-- The operations that are not put off.
(due_at is null or due_at <= now());

-- name: waiting
-- The operations that wait for a worker: they are queued and not put off, or nobody undoes them any more.
((status = 'queued' and (due_at is null or due_at <= now())) or (status = 'cleaning' and lease_expires_at < now()));

-- name: unread
-- The operation `o` that this worker has not passed over, or that was claimed since. Passed over are fencing tokens by
-- the ids of their operations.
(%(passed_over)s::jsonb ->> o.id::text is distinct from o.fencing_token::text);
