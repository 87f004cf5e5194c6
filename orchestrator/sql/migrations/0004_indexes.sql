-- What a customer asks for again and again must not read what is everybody's, or what has piled up.

create index operation_of_customer on operation (customer_id, created_at desc, id desc);
create index instance_counted on instance (customer_id, ctype) where status not in ('failed', 'quarantined');
create index instance_failed on instance (customer_id) where status = 'failed';

-- What counts against a customer's limits: not what failed, nor what is kept for a look.
create view counted_instance as
select customer_id, ctype, memory_mib, cpu_cores from instance where status not in ('failed', 'quarantined');
