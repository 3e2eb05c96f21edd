-- owner: hub/work/dispatch/tasks.ts
-- Over all that stands in the row, written with each step; null in rows of before. A later column that is not null empties it.
alter table task add column check_sum text;

alter table attempt add column check_sum text;

alter table session add column check_sum text;
