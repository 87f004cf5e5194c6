-- Customers, tokens, and what the proxy reports.

-- name: find_token
-- Find whom a bearer token belongs to, unless it is revoked or has expired.
select t.name, t.customer_id, t.id as token_id, t.expires_at
from token t
where t.hash = %(hash)s and t.revoked_at is null and (t.expires_at is null or t.expires_at > now());

-- name: insert_token
-- Keep a new token's hash.
insert into token (hash, name, customer_id, expires_at) values (%(hash)s, %(name)s, %(customer_id)s, %(expires_at)s)
returning id, name, customer_id, created_at, expires_at, revoked_at, last_used_at, last_address;

-- name: list_tokens
-- List tokens, newest first, in keyset pages.
select id, name, customer_id, created_at, expires_at, revoked_at, last_used_at, last_address
from token
where (%(customer_id)s::text is null or customer_id = %(customer_id)s)
  and (%(after)s::uuid is null or (created_at, id) < (select a.created_at, a.id from token a where a.id = %(after)s))
order by created_at desc, id desc
limit %(limit)s;

-- name: revoke_token
-- Revoke a token and tell every API process. A token that is revoked already stays as it was. No row means that there
-- is no such token.
with t as (
    update token set revoked_at = coalesce(revoked_at, now()) where id = %(id)s returning id
)
select pg_notify('hostwright_token', id::text) from t;

-- name: note_token_uses
-- Keep when and from where tokens were last used, unless another process has just done so.
update token t set last_used_at = now(), last_address = u.address::inet
from unnest(%(ids)s::uuid[], %(addresses)s::text[]) as u (id, address)
where t.id = u.id and (t.last_used_at is null or t.last_used_at < now() - make_interval(secs => %(seconds)s));

-- name: ensure_customer
-- Make a customer unless it exists.
insert into customer (id) values (%(id)s) on conflict (id) do nothing;

-- name: update_customer
-- Set what is given of a customer's billing state and limits. A billing event that happened before now does not change
-- a state that is set here.
update customer
set billing_state = coalesce(%(billing_state)s::billing_state, billing_state),
    billed_at = case when %(billing_state)s::text is null then billed_at else now() end,
    max_instances = coalesce(%(max_instances)s, max_instances),
    max_memory_mib = coalesce(%(max_memory_mib)s, max_memory_mib),
    max_cpu_cores = coalesce(%(max_cpu_cores)s, max_cpu_cores),
    revision = revision + 1
where id = %(id)s;

-- name: set_quota
-- Replace a customer's own limits for a container type, in the transaction that raises its revision.
insert into quota (customer_id, ctype, max_instances, max_memory_mib, max_cpu_cores)
values (%(customer_id)s, %(ctype)s, %(instances)s, %(memory_mib)s, %(cpu_cores)s)
on conflict (customer_id, ctype) do update
set max_instances = excluded.max_instances, max_memory_mib = excluded.max_memory_mib,
    max_cpu_cores = excluded.max_cpu_cores;

-- name: list_customers
-- List customers by id, in keyset pages, with what counts against their limits.
select c.id, c.billing_state, c.created_at,
       jsonb_build_object('instances', c.max_instances, 'memory_mib', c.max_memory_mib, 'cpu_cores', c.max_cpu_cores)
           as limits,
       (select jsonb_build_object('instances', coalesce(sum(i.instances), 0),
                                  'memory_mib', coalesce(sum(i.memory_mib), 0),
                                  'cpu_cores', coalesce(sum(i.cpu_cores), 0))
        from customer_usage i where i.customer_id = c.id) as used,
       coalesce((select jsonb_object_agg(q.ctype, jsonb_build_object('instances', q.max_instances,
                                         'memory_mib', q.max_memory_mib, 'cpu_cores', q.max_cpu_cores))
                 from quota q where q.customer_id = c.id), '{}') as ctype_limits,
       coalesce((select jsonb_object_agg(i.ctype, jsonb_build_object('instances', i.instances,
                                         'memory_mib', i.memory_mib, 'cpu_cores', i.cpu_cores))
                 from customer_usage i where i.customer_id = c.id and i.instances > 0), '{}') as ctype_used
from customer c
where (%(customer_id)s::text is null or c.id = %(customer_id)s) and (%(after)s::text is null or c.id > %(after)s)
order by c.id
limit %(limit)s;

-- name: billing_state
-- Read the billing state of a customer.
select billing_state from customer where id = %(id)s;

-- name: set_proxy_status
-- Keep what the proxy last said about a backend.
update instance set proxy_status = %(proxy_status)s, proxy_status_at = now(), updated_at = now()
where hostname = %(hostname)s;
