-- The kinds of operations are a table in the code (orchestrator/domain/operations.py), so their column becomes text. A
-- newer release can then write a new kind without changing a type, and an older one passes such rows over.
-- What is published is recorded as it is published, and is taken back from that record.

drop index operation_active_create;
alter table operation alter column kind type text;
drop type operation_kind;
create index operation_active_create on operation (customer_id, ctype, kind)
    where status in ('queued', 'running', 'cleaning');

-- A row is written before the record or registration is made, and deleted when that is gone. An instance cannot be
-- archived before.
create table publication (
    instance_id uuid not null references instance,
    driver text not null,
    place text not null,
    type text not null,
    name text not null,
    value text not null,
    recorded_at timestamptz not null default now(),
    -- The value is part of the key: a replacement is recorded while the old record may still be there.
    primary key (instance_id, driver, place, type, name, value)
);

-- Earlier releases have recorded nothing of what they published. A worker of this release fills the records from its
-- inventory when it starts.
alter table instance add column publications_known boolean not null default true;
update instance i set publications_known = false
where ctype = 'game' and exists (
    select from operation_phase p join operation o on o.id = p.operation_id
    where o.instance_id = i.id and p.name = 'publish-edge'
);
create index instance_publications_unknown on instance (id) where not publications_known;
