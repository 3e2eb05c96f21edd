-- owner: hub/work/dispatch/tasks.ts
-- A check over all columns of the row, written with each step; null in older rows. A later column that is not null must empty it.
alter table task add column check_sum text;

alter table attempt add column check_sum text;

alter table session add column check_sum text;
