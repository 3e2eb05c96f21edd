-- owner: hub/work/dispatch/tasks.ts
-- A task of kind run is the face of a run: it is held, released, stopped and answered like any task, and never has a session (faces.ts). Null: a task
-- for an agent. It has no default, so that the checks of earlier rows stay true.
alter table task add column kind text check (kind = 'run');
create index task_face on task (state) where kind = 'run';
