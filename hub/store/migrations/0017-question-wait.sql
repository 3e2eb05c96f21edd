-- owner: hub/work/dispatch/tasks.ts
-- How long questions of the session may still wait while its clock stands still, and since when one does (boot id and boot ms). Null in rows of before.
alter table session add column wait_left_ms integer;

alter table session add column waiting_since text;
