-- owner: hub/work/dispatch/tasks.ts
-- How long questions of the session may still stop its clock, and since when one does (boot id and boot ms). Null in older rows.
alter table session add column wait_left_ms integer;

alter table session add column waiting_since text;
