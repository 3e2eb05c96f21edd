-- owner: hub/work/dispatch/tasks.ts
-- Nothing ever wrote or read it: a deadline is kept by the session.
alter table task drop column deadline_boot;
