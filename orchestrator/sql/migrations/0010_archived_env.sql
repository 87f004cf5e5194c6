-- The `env` of an order may hold secrets, and now goes with its server. This takes away what earlier deletions kept.

update archived_instance set spec = spec - 'env' where spec -> 'env' <> '{}';
update operation o
set spec = spec - 'env'
where spec -> 'env' <> '{}' and exists (select from archived_instance a where a.id = o.instance_id);
