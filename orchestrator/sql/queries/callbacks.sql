-- One-time tokens of callbacks.

-- name: insert_callback
-- Keep the hash of a running attempt's token.
insert into callback_token (hash, operation_id)
select %(hash)s, id from operation
where id = %(operation_id)s and fencing_token = %(fencing_token)s and status = 'running';

-- name: use_callback
-- Use a token up and log what came with it, while its operation runs.
with used as (
    update callback_token c set used_at = now() from operation o
    where c.hash = %(hash)s and c.used_at is null and o.id = c.operation_id and o.status = 'running'
    returning c.operation_id
), line as (
    update operation o set last_seq = o.last_seq + 1 from used
    where o.id = used.operation_id and o.status = 'running'
    returning o.id, o.last_seq, o.phase
), event as (
    insert into operation_event (operation_id, seq, phase, level, message)
    select id, last_seq, phase, %(level)s, %(message)s from line
    returning operation_id
)
select pg_notify('hostwright_operation', operation_id::text) from event;
