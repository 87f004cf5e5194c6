-- Events of the billing system.

-- name: lock_customer
-- Lock a customer's row.
select id from customer where id = %(id)s for update;

-- name: insert_billing_event
-- Keep an event. No row means that the event came before.
insert into billing_event (id, customer_id, billing_state, occurred_at)
values (%(id)s, %(customer_id)s, %(state)s, %(occurred_at)s)
on conflict (id) do nothing;

-- name: apply_billing_event
-- Set the state that an event tells, unless a newer one is known.
update customer set billing_state = %(state)s, billed_at = %(occurred_at)s, revision = revision + 1
where id = %(customer_id)s and (billed_at is null or billed_at <= %(occurred_at)s);
