-- owner: hub/work/dispatch/tasks.ts
-- What a task is about beside its parameters, as JSON (protocol/task-spec.ts): the repository that its input holds. Null: nothing.
alter table task add column spec text;
