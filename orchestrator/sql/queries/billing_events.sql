-- What the billing system says.

-- name: lock_customer
-- A customer, locked.
select id from customer where id = %(id)s for update;

-- name: insert_billing_event
-- Keep an event; no row: it was here before.
insert into billing_event (id, customer_id, billing_state, occurred_at)
values (%(id)s, %(customer_id)s, %(state)s, %(occurred_at)s)
on conflict (id) do nothing;

-- name: apply_billing_event
-- Set the state an event says, unless something newer is known.
update customer set billing_state = %(state)s, billed_at = %(occurred_at)s, revision = revision + 1
where id = %(customer_id)s and (billed_at is null or billed_at <= %(occurred_at)s);
