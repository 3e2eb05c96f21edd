-- owner: hub/work/dispatch/tasks.ts
-- User and group of the session's container; null for sessions from before each had its own.
alter table session add column uid integer;

-- owner: hub/work/dispatch/made.ts
-- The body that a session's container was made from, kept while the container may exist: a hub that takes it over compares it with this.
create table session_made (
  session text primary key,
  body text not null
) strict, without rowid;
