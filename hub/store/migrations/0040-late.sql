-- owner: hub/work/dispatch/late.ts
-- What a session handed in after its task had ended. `outcome`: JSON; null where nothing is taken from this session any more.
create table late (
  session text primary key,
  task text not null,
  came_at_ms integer not null,
  outcome text,
  accepted text
) strict;
create index late_by_task on late (task);
-- owner: hub/work/dispatch/tasks.ts
-- The task whose late result this task is the record of. Null: it is a task like any other.
alter table task add column accepted_from text;
