-- owner: hub/work/dispatch/tasks.ts
-- The class of data that the task works on: who may take it follows from that (S1-73). Null: it has none.
alter table task add column sensitivity text;
