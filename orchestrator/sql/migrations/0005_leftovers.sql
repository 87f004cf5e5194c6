-- What the first release left for somebody to look after, the sweep looks after now: what was left behind, machines that were
-- kept, and deletions that failed. Later releases write these columns with the rows themselves.

update instance i
set leaked = array(select jsonb_array_elements_text(o.cleanup -> 'leaked')), attend_at = now()
from operation o
where i.status = 'failed' and i.leaked = '{}' and i.attend_at is null
  and o.instance_id = i.id and jsonb_array_length(o.cleanup -> 'leaked') > 0
  and not exists (select from operation n where n.instance_id = i.id and n.created_at > o.created_at);

update instance set expires_at = now() + interval '1 day' where status = 'quarantined' and expires_at is null;

update instance i set attend_at = now()
where i.status = 'deleting' and i.attend_at is null
  and not exists (
      select from operation o where o.instance_id = i.id and o.status in ('queued', 'running', 'cleaning')
  );
