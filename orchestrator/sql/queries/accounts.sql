-- Customers, tokens, and what the proxy reports.

-- name: find_token
-- The principal of a bearer token, unless it is revoked or has expired.
select t.name, t.customer_id
from token t
where t.hash = %(hash)s and t.revoked_at is null and (t.expires_at is null or t.expires_at > now());

-- name: insert_token
-- Keep a new token's hash.
insert into token (hash, name, customer_id, expires_at) values (%(hash)s, %(name)s, %(customer_id)s, %(expires_at)s);

-- name: ensure_customer
-- Make a customer unless there is one.
insert into customer (id) values (%(id)s) on conflict (id) do nothing;

-- name: update_customer
-- Set what is given of a customer's billing state and limits.
update customer
set billing_state = coalesce(%(billing_state)s::billing_state, billing_state),
    max_instances = coalesce(%(max_instances)s, max_instances),
    max_memory_mib = coalesce(%(max_memory_mib)s, max_memory_mib),
    max_cpu_cores = coalesce(%(max_cpu_cores)s, max_cpu_cores),
    revision = revision + 1
where id = %(id)s;

-- name: set_proxy_status
-- What the proxy last said of a backend.
update instance set proxy_status = %(proxy_status)s, updated_at = now() where hostname = %(hostname)s;
