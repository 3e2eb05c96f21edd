-- owner: hub/work/dispatch/tasks.ts
-- User and group of the session's container; null for one of before each had its own.
alter table session add column uid integer;

-- owner: hub/work/dispatch/made.ts
-- The body that the container of a session was made from, kept while it may be there: a hub that takes the container over compares with it.
create table session_made (
  session text primary key,
  body text not null
) strict, without rowid;
