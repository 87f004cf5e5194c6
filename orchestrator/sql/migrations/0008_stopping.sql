-- A server that is being stopped is no longer ready, and not yet stopped. What fails again and again says since when.
-- What the proxy says of a server is good for a while.

alter type instance_status add value 'stopping' before 'stopped';
create or replace function forbid_illegal_instance_transition() returns trigger language plpgsql as $$
begin
    if (old.status, new.status) not in (
        ('provisioning', 'ready'), ('provisioning', 'failed'), ('provisioning', 'quarantined'),
        ('ready', 'stopping'), ('ready', 'stopped'), ('ready', 'deleting'),
        ('stopping', 'stopped'), ('stopping', 'ready'), ('stopping', 'deleting'),
        ('stopped', 'stopping'), ('stopped', 'ready'), ('stopped', 'deleting'),
        ('failed', 'deleting'),
        ('quarantined', 'provisioning'), ('quarantined', 'deleting')
    ) then
        raise exception 'instance % cannot go from % to %', old.id, old.status, new.status
            using errcode = 'HW001';
    end if;
    return new;
end $$;

alter table instance
    add column failing_since timestamptz,
    add column proxy_status_at timestamptz;
update instance set failing_since = updated_at where leaked <> '{}' or (attend_at is not null and attend_failures > 0);
drop index instance_leaked;
create index instance_leaked on instance (created_at, id) where leaked <> '{}' or failing_since is not null;
