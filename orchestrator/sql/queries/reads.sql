-- Reading operations and instances. A customer id narrows every read to that customer's own.

-- name: get_operation
-- Read one operation with its phases. A customer sees only its own. Its position in the queue follows the customers'
-- turns, and only the oldest 1000 that wait are counted.
select o.*,
       {{phases}},
       exists(select from worker where seen_at > now() - make_interval(secs => %(live_seconds)s)) as worker_alive,
       case when o.status = 'queued' and {{due}} then
           (select r.position from (
                select w.id, row_number() over (
                    order by w.background, w.attempt = 0, w.turn, w.created_at, w.id
                ) as position
                from (select q.id, q.background, q.attempt, q.created_at, row_number() over (
                          partition by q.customer_id, q.background, q.attempt = 0 order by q.created_at, q.id) as turn
                      from (select * from operation where status = 'queued' and {{due}}
                            order by created_at limit 1000) q) w
            ) r where r.id = o.id)
       end::int as queue_position
from operation o
where o.id = %(operation_id)s and (%(customer_id)s::text is null or o.customer_id = %(customer_id)s);

-- name: list_operations
-- List operations, newest first, in keyset pages.
select o.*, null::jsonb as phases, null::int as queue_position
from operation o
where (%(customer_id)s::text is null or o.customer_id = %(customer_id)s)
  and (%(status)s::operation_status is null or o.status = %(status)s)
  and (%(kind)s::text is null or o.kind = %(kind)s)
  and (%(after)s::uuid is null
       or (o.created_at, o.id) < (select a.created_at, a.id from operation a
                                  where a.id = %(after)s
                                    and (%(customer_id)s::text is null or a.customer_id = %(customer_id)s)))
order by o.created_at desc, o.id desc
limit %(limit)s;

-- name: list_events
-- List an operation's log after a sequence number, in order and without gaps.
select seq, at, phase, level, message from operation_event
where operation_id = %(operation_id)s and seq > %(after)s order by seq limit %(limit)s;

-- name: list_instances
-- List instances in the order in which they were ordered, each with its active operation. The last instance of the page
-- before may be deleted by now.
select i.*, {{active}}, extract(epoch from now() - i.proxy_status_at)::float as proxy_status_age,
       {{records}}
from instance i
where (%(customer_id)s::text is null or i.customer_id = %(customer_id)s)
  and (not %(leaked)s or i.leaked <> '{}' or i.failing_since is not null)
  and (%(after)s::uuid is null
       or (i.created_at, i.id) > (
           select a.created_at, a.id
           from (select id, customer_id, created_at from instance
                 union all select id, customer_id, created_at from archived_instance) a
           where a.id = %(after)s and (%(customer_id)s::text is null or a.customer_id = %(customer_id)s)))
order by i.created_at, i.id
limit %(limit)s;

-- name: list_servers
-- List instances in the same order, with no more of each than the predecessor tells.
select id, vmid, hostname, ctype, status,
       spec ->> 'runtime' as runtime, spec ->> 'variant' as variant, spec ->> 'version' as version
from instance
where %(customer_id)s::text is null or customer_id = %(customer_id)s
order by created_at, id
limit %(limit)s;

-- name: get_instance
-- Read one instance by its id or its VMID. A customer sees only its own.
select i.*, {{active}}, extract(epoch from now() - i.proxy_status_at)::float as proxy_status_age,
       {{records}}
from instance i
where (i.id = %(server_id)s::uuid or i.vmid = %(vmid)s::int)
  and (%(customer_id)s::text is null or i.customer_id = %(customer_id)s);

-- name: newest_ready
-- Read the newest ready instances. They show what the present templates are like.
select * from instance
where status = 'ready'
order by created_at desc, id desc
limit 50;

-- name: get_archived
-- Read when an instance was deleted. A customer sees only its own.
select deleted_at from archived_instance
where id = %(server_id)s::uuid and (%(customer_id)s::text is null or customer_id = %(customer_id)s);
