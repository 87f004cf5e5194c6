-- A publish that a name service or the proxy puts off: its order waits until then, and its machine is kept.

alter table operation add column due_at timestamptz;
comment on column operation.due_at is 'until when a queued operation is put off';
