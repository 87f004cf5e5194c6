-- Worker safety: resume, cancel, fairness, limits over all workers, and what is looked after in the background.

alter type operation_kind add value 'start';
alter type operation_kind add value 'stop';
alter type operation_kind add value 'cleanup';

alter table operation
    -- How many workers it has lost; the first loss is resumed, the next one fails it.
    add column losses integer not null default 0,
    add column cancel_requested_at timestamptz,
    -- Proxmox's task of the clone, so that a clone that still runs can be aborted.
    add column clone_upid text,
    -- The Proxmox node that the worker works on, for the limit per node.
    add column node text,
    -- Work of our own goes after what customers and operators asked for.
    add column background boolean not null default false,
    add column retry_of uuid;

alter table instance
    -- What a cleanup could not undo.
    add column leaked text[] not null default '{}',
    -- When the sweep does something for this instance by itself: cleans up once more, or ends a quarantine.
    add column attend_at timestamptz,
    -- How often that failed in a row, for the backoff.
    add column attend_failures integer not null default 0,
    add column expires_at timestamptz;
create index instance_attend on instance (attend_at) where attend_at is not null;
create index instance_expires on instance (expires_at) where expires_at is not null;

alter table customer add column served_at timestamptz;

create index operation_of_instance on operation (instance_id);
create index operation_waiting on operation (created_at) where status in ('queued', 'running', 'cleaning');
