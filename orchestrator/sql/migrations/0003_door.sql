-- The door: limits per container type, handles and last use of tokens, events of the billing system, the audit log, and
-- the one-time tokens of callbacks.

-- A customer's own limits for one container type, beside those in total; null: none of its own.
create table quota (
    customer_id text not null references customer,
    ctype container_type not null,
    max_instances integer check (max_instances >= 0),
    max_memory_mib integer check (max_memory_mib >= 0),
    max_cpu_cores integer check (max_cpu_cores >= 0),
    primary key (customer_id, ctype)
);

-- The hash never leaves the database; the id is what a token is called.
alter table token
    add column id uuid not null default gen_random_uuid() unique,
    add column last_used_at timestamptz,
    add column last_address inet;

-- When what the billing state says was so: events that are older say nothing new.
alter table customer add column billed_at timestamptz;

create table billing_event (
    id text primary key,
    customer_id text not null references customer,
    billing_state billing_state not null,
    occurred_at timestamptz not null,
    received_at timestamptz not null default now()
);

-- Every request to change something, refused ones too. It names what it was about, and never holds a body or a secret.
create table audit (
    seq bigint generated always as identity primary key,
    at timestamptz not null default now(),
    principal text not null,
    token_id uuid,      -- no foreign key: a line outlives what it names
    customer_id text,   -- whose token it was; null: an operator's, or none
    address inet,
    method text not null,
    route text not null,
    target text not null,
    status integer,     -- null: not an HTTP request
    code text,
    operation_id uuid
);
create index audit_customer on audit (customer_id, seq);
create index audit_target on audit (target, seq);

create function forbid_audit_change() returns trigger language plpgsql as $$
begin
    -- Only `hostwright audit prune` says this, for its own transaction.
    if tg_op = 'DELETE' and current_setting('hostwright.retention', true) = 'on' then
        return old;
    end if;
    raise exception 'the audit log is only appended to' using errcode = 'insufficient_privilege';
end $$;
create trigger audit_rows before update or delete on audit for each row execute function forbid_audit_change();
create trigger audit_whole before truncate on audit for each statement execute function forbid_audit_change();

-- Each attempt of a provision gives its agent one; it is good once, while the operation runs.
create table callback_token (
    hash bytea primary key,
    operation_id uuid not null references operation on delete cascade,
    created_at timestamptz not null default now(),
    used_at timestamptz
);
create index callback_token_operation on callback_token (operation_id);
