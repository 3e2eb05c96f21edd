-- owner: hub/work/egress/outflow.ts
-- Bytes that a submitted task and everything below it sent outward. `task` is the submitted one, with which it is deleted.
create table egress_out (
  task text primary key,
  bytes integer not null check (bytes >= 0)
) strict, without rowid;
