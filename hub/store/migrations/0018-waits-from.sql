-- owner: hub/work/dispatch/tasks.ts
-- When the wait that ends at not_before_ms began. A clock that shows an earlier time was set back, and then nothing waits for it (T71).
alter table task add column waits_from_ms integer;
