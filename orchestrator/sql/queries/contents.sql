-- What back-ups need to know about a whole database: what is in it and who is connected.

-- name: export_snapshot
-- Export the snapshot of this transaction, so that pg_dump sees exactly the same.
select pg_export_snapshot() as snapshot;

-- name: list_tables
-- List the tables of the schema that Hostwright's are made in, without those of extensions.
select c.relname as name
from pg_class c
where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
  and not exists (select from pg_depend d where d.classid = c.tableoid and d.objid = c.oid and d.deptype = 'e')
order by c.relname;

-- name: list_migrations
-- List the applied migrations with their checksums of that time.
select version, checksum from schema_migration;

-- name: list_objects
-- List what is in the schema, each with the statement that drops it. What belongs to an extension is left out, and so
-- is what belongs to a column, since it goes with the column.
select 'drop ' || o.kind || ' if exists ' || o.name || ' cascade' as statement
from (
    select case c.relkind
               when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' else 'table'
           end as kind,
           c.oid::regclass::text as name, c.oid, c.tableoid
    from pg_class c
    where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S')
    union all
    select 'type', format_type(t.oid, null), t.oid, t.tableoid
    from pg_type t
    where t.typnamespace = current_schema()::regnamespace and t.typtype in ('e', 'd')
    union all
    select 'routine', p.oid::regprocedure::text, p.oid, p.tableoid
    from pg_proc p
    where p.pronamespace = current_schema()::regnamespace
) o
where not exists (
    select from pg_depend d where d.classid = o.tableoid and d.objid = o.oid and d.deptype in ('e', 'i', 'a')
);

-- name: count_sessions
-- Count who else is connected to this database. The server's own workers have no user.
select count(*) as sessions
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and usesysid is not null;

-- name: list_live_leases
-- List the operations that a worker may be working at, whether or not it is connected now.
select 'operation ' || id || ' is held by ' || worker || ' until ' || date_trunc('second', lease_expires_at) as sentence
from operation
where status in ('running', 'cleaning') and lease_expires_at > now()
order by lease_expires_at desc;
