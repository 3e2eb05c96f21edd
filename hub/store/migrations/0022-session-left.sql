-- owner: hub/work/dispatch/tasks.ts
-- The code of the error that ended a start, and what the engine still shows of a session of which nothing runs. Both were read out of `detail`
-- before. A column that is null changes no row's check.
alter table session add column error_code text;

alter table session add column left_behind text;
