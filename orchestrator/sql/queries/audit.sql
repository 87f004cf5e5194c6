-- The audit log.

-- name: insert_audit
-- Append a line. The line of an accepted order is written with the order (place_order).
insert into audit (principal, token_id, customer_id, address, method, route, target, status, code, operation_id)
values (%(principal)s, %(token_id)s, %(customer_id)s, %(address)s, %(method)s, %(route)s, %(target)s, %(status)s,
        %(code)s, %(operation_id)s);

-- name: list_audit
-- List lines, newest first, in keyset pages. A customer sees the lines of its tokens and those about it. The target of
-- a request about a server may be a VMID, which may look like the id of a customer.
select * from audit
where (
    %(customer_id)s::text is null or customer_id = %(customer_id)s
    or (target = %(customer_id)s and strpos(route, '{server_id}') = 0)
)
  and (%(after)s::bigint is null or seq < %(after)s)
order by seq desc
limit %(limit)s;

-- name: allow_retention
-- Allow this transaction to delete lines. No other transaction may.
select set_config('hostwright.retention', 'on', true);

-- name: prune_audit
-- Delete the lines from before a time.
delete from audit where at < %(before)s;
