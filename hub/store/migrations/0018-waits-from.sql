-- owner: hub/work/dispatch/tasks.ts
-- When the wait that ends at not_before_ms began. A clock that shows an earlier time than that was set back, and holds nothing up (T71).
alter table task add column waits_from_ms integer;
