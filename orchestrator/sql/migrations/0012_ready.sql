-- A failed stop of a ready server left this behind, and no sweep looked at it. Now one would stop the server.

update instance set attend_at = null, attend_failures = 0, failing_since = null
where status = 'ready' and leaked = '{}' and attend_at is not null;
