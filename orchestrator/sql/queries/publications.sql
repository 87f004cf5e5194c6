-- What was published: its record on the instance.

-- name: list_unrecorded
-- Instances of which an earlier release published something without a record.
select id, vmid, hostname, address, spec from instance where not publications_known order by id;

-- name: record_earlier
-- What an earlier release published, worked out afterwards.
insert into publication (instance_id, driver, place, type, name, value, recorded_at)
values (%(instance_id)s, %(driver)s, %(place)s, %(type)s, %(name)s, %(value)s, clock_timestamp())
on conflict do nothing;

-- name: mark_recorded
-- From here on the record of an instance is whole. No row means that it was so before.
update instance set publications_known = true where id = %(instance_id)s and not publications_known;
