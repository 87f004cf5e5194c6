-- What a list, a sweep or an order reads does not grow with what has piled up.

create index operation_by_status on operation (status, created_at desc, id desc);
create index operation_by_kind on operation (kind, created_at desc, id desc);
create index operation_of_customer_by_status on operation (customer_id, status, created_at desc, id desc);
create index operation_of_customer_by_kind on operation (customer_id, kind, created_at desc, id desc);
create index instance_listed on instance (created_at, id);
create index instance_leaked on instance (created_at, id) where leaked <> '{}';
create index instance_ready on instance (customer_id) where status = 'ready';
create index instance_kept on instance (customer_id) where status in ('quarantined', 'provisioning');

-- What counts against a customer's limits: not what failed, nor what is kept for a look. Each statement that makes,
-- changes or deletes instances adds its difference here.
create table customer_usage (
    customer_id text not null,  -- no foreign key: an instance of the same statement has it
    ctype container_type not null,
    instances bigint not null,
    memory_mib bigint not null,
    cpu_cores bigint not null,
    primary key (customer_id, ctype)
);
insert into customer_usage
select customer_id, ctype, count(*), sum(memory_mib), sum(cpu_cores) from counted_instance group by customer_id, ctype;
drop view counted_instance;
drop index instance_counted;

create function add_usage(
    of_customer text, of_ctype container_type, more_instances numeric, more_memory_mib numeric, more_cpu_cores numeric
) returns void language sql as $$
    insert into customer_usage as u (customer_id, ctype, instances, memory_mib, cpu_cores)
    values (of_customer, of_ctype, more_instances, more_memory_mib, more_cpu_cores)
    on conflict (customer_id, ctype) do update
    set instances = u.instances + excluded.instances, memory_mib = u.memory_mib + excluded.memory_mib,
        cpu_cores = u.cpu_cores + excluded.cpu_cores
$$;

-- The differences are added in the order of the primary key, so that two statements never wait for each other in turn.
-- Each operation has a statement of its own, whose plan is kept: an EXECUTE for all three would cost an order 0.3 ms.
create function count_instances() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        perform add_usage(customer_id, ctype, count(*), sum(memory_mib), sum(cpu_cores))
        from added where status not in ('failed', 'quarantined')
        group by customer_id, ctype order by customer_id, ctype;
    elsif tg_op = 'DELETE' then
        perform add_usage(customer_id, ctype, -count(*), -sum(memory_mib), -sum(cpu_cores))
        from removed where status not in ('failed', 'quarantined')
        group by customer_id, ctype order by customer_id, ctype;
    else
        perform add_usage(customer_id, ctype, sum(n), sum(n * memory_mib), sum(n * cpu_cores))
        from (select 1 as n, * from added union all select -1, * from removed) changed
        where status not in ('failed', 'quarantined')
        group by customer_id, ctype having sum(n) <> 0 or sum(n * memory_mib) <> 0 or sum(n * cpu_cores) <> 0
        order by customer_id, ctype;
    end if;
    return null;
end $$;
create trigger instance_made after insert on instance
    referencing new table as added for each statement execute function count_instances();
create trigger instance_changed after update on instance
    referencing new table as added old table as removed for each statement execute function count_instances();
create trigger instance_gone after delete on instance
    referencing old table as removed for each statement execute function count_instances();
