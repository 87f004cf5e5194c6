-- One-time tokens of callbacks.

-- name: insert_callback
-- Keep the hash of the token of a running attempt.
insert into callback_token (hash, operation_id)
select %(hash)s, id from operation
where {{held}} and status = 'running';

-- name: use_callback
-- Use a token up and log what came with it. No row means that it is unknown or used, or that its operation has ended.
with used as (
    update callback_token c set used_at = now() from operation o
    where c.hash = %(hash)s and c.used_at is null and o.id = c.operation_id and o.status = 'running'
    returning c.operation_id
), o as (
    update operation set last_seq = last_seq + 1 from used
    where id = used.operation_id and status = 'running'
    returning id, last_seq, phase, %(level)s as level, %(message)s as message
), {{logged}}
select {{notify}} from o;
