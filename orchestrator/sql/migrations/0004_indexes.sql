-- What a customer asks for again and again must not read what is everybody's, or what has piled up.

create index operation_of_customer on operation (customer_id, created_at desc, id desc);
create index instance_counted on instance (customer_id, ctype) where status not in ('failed', 'quarantined');
create index instance_failed on instance (customer_id) where status = 'failed';
