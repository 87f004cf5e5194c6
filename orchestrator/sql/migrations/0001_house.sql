-- The whole schema of the first release: customers and tokens, instances, operations with their phases and log,
-- idempotency keys, VMID ranges, workers, and Huey's tables (its own DDL, because the migrations own every table).

create type operation_kind as enum ('provision', 'teardown');
create type operation_status as enum ('queued', 'running', 'cleaning', 'succeeded', 'failed', 'cancelled');
create type phase_status as enum ('pending', 'running', 'ok', 'failed', 'skipped');
create type instance_status as enum (
    'provisioning', 'ready', 'stopped', 'failed', 'quarantined', 'deleting'
);
create type container_type as enum ('game', 'dev');
create type billing_state as enum (
    'active', 'past_due', 'overdue_warning', 'suspended', 'retained', 'pending_deletion'
);

create table customer (
    id text primary key check (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    billing_state billing_state not null default 'active',
    max_instances integer not null default 20 check (max_instances >= 0),
    max_memory_mib integer not null default 131072 check (max_memory_mib >= 0),
    max_cpu_cores integer not null default 64 check (max_cpu_cores >= 0),
    -- Counts the customer's orders and changes: an order is only written if it is what it was decided on.
    revision bigint not null default 0,
    created_at timestamptz not null default now()
);

-- Only the SHA-256 of a token is kept: the tokens are 256 random bits, so a slow hash would add nothing.
create table token (
    hash bytea primary key,
    name text not null,
    customer_id text references customer,  -- null: an operator
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz
);

create table instance (
    id uuid primary key,
    customer_id text not null references customer,
    ctype container_type not null,
    status instance_status not null default 'provisioning',
    vmid integer unique,
    hostname text,
    address inet,
    spec jsonb not null,
    memory_mib integer not null,
    cpu_cores integer not null,
    proxy_status text,
    created_at timestamptz not null default now(),
    ready_at timestamptz,
    updated_at timestamptz not null default now()
);
create index instance_customer on instance (customer_id, created_at, id);

-- What a deleted instance was. Its operations and their logs stay where they are, under its id.
create table archived_instance (
    id uuid primary key,
    customer_id text not null references customer,
    ctype container_type not null,
    vmid integer,
    hostname text,
    spec jsonb not null,
    created_at timestamptz not null,
    ready_at timestamptz,
    deleted_at timestamptz not null default now()
);

create table operation (
    id uuid primary key,
    instance_id uuid not null,  -- no foreign key: an operation outlives its instance
    customer_id text not null,  -- no foreign key: the instance of the same statement has it
    kind operation_kind not null,
    status operation_status not null default 'queued',
    phase text,
    attempt integer not null default 0,
    ctype container_type not null,
    vmid integer,
    hostname text,
    spec jsonb not null,
    request_id uuid not null,
    request_hash bytea not null,
    fencing_token bigint not null default 0,
    worker text,
    lease_expires_at timestamptz,
    heartbeat_at timestamptz,
    enqueued_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    deadline_at timestamptz,
    error jsonb,
    cleanup jsonb,
    last_seq bigint not null default 0,
    constraint operation_finished_iff_final check (
        (finished_at is not null) = (status in ('succeeded', 'failed', 'cancelled'))
    )
);
create unique index operation_one_active on operation (instance_id)
    where status in ('queued', 'running', 'cleaning');
create index operation_active_create on operation (customer_id, ctype)
    where kind = 'provision' and status in ('queued', 'running', 'cleaning');
create index operation_listed on operation (created_at desc, id desc);

-- A phase has a row from its start; those that have none are pending.
create table operation_phase (
    operation_id uuid not null references operation on delete cascade,
    name text not null,
    status phase_status not null,
    started_at timestamptz not null,
    finished_at timestamptz,
    retries integer not null default 0,
    primary key (operation_id, name)
);

create table operation_event (
    operation_id uuid not null references operation on delete cascade,
    seq bigint not null,
    at timestamptz not null default now(),
    phase text,
    level text not null check (level in ('info', 'warning', 'error')),
    message text not null,
    primary key (operation_id, seq)
);

create table idempotency_key (
    customer_id text not null,
    key text not null,
    request_hash bytea not null,
    operation_id uuid not null,  -- written with its operation in one statement; operations are never deleted
    created_at timestamptz not null default now(),
    primary key (customer_id, key)
);

-- Where the round robin of each range stands; the range itself is catalogue data.
create table vmid_cursor (
    ctype container_type primary key,
    last integer not null
);

-- VMIDs that exist on the cluster and are not ours.
create table foreign_vmid (
    vmid integer primary key,
    seen_at timestamptz not null default now()
);

create table worker (
    id text primary key,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
);

create function forbid_illegal_operation_transition() returns trigger language plpgsql as $$
begin
    if (old.status, new.status) not in (
        ('queued', 'running'), ('queued', 'cancelled'), ('queued', 'failed'),
        ('running', 'succeeded'), ('running', 'failed'), ('running', 'cancelled'), ('running', 'cleaning'),
        ('running', 'queued'),
        ('cleaning', 'failed'), ('cleaning', 'cancelled')
    ) then
        raise exception 'operation % cannot go from % to %', old.id, old.status, new.status
            using errcode = 'HW001';
    end if;
    return new;
end $$;
create trigger operation_transition before update of status on operation for each row
    when (old.status is distinct from new.status) execute function forbid_illegal_operation_transition();

create function forbid_illegal_instance_transition() returns trigger language plpgsql as $$
begin
    if (old.status, new.status) not in (
        ('provisioning', 'ready'), ('provisioning', 'failed'), ('provisioning', 'quarantined'),
        ('ready', 'stopped'), ('ready', 'deleting'),
        ('stopped', 'ready'), ('stopped', 'deleting'),
        ('failed', 'deleting'),
        ('quarantined', 'provisioning'), ('quarantined', 'deleting')
    ) then
        raise exception 'instance % cannot go from % to %', old.id, old.status, new.status
            using errcode = 'HW001';
    end if;
    return new;
end $$;
create trigger instance_transition before update of status on instance for each row
    when (old.status is distinct from new.status) execute function forbid_illegal_instance_transition();

-- Huey 3.5.4, PostgresStorage.ddl with the prefix `huey`.
create table huey_kv (queue text not null, key text not null, value bytea not null, primary key (queue, key));
create table huey_schedule (
    id bigserial primary key, queue text not null, data bytea not null, timestamp double precision not null
);
create index huey_schedule_queue_timestamp on huey_schedule (queue, timestamp);
create table huey_task (
    id bigserial primary key, queue text not null, data bytea not null,
    priority double precision not null default 0.0
);
create index huey_task_queue_priority_id on huey_task (queue, priority desc, id);
create table huey_counter (
    queue text not null, key text not null, value bigint not null default 0, primary key (queue, key)
);
