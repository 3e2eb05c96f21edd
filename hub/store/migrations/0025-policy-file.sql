-- owner: hub/guard/policy/accepted.ts
-- The files of the rules that were accepted last: the shipped bundle, and the operator's. A refused one never replaces them (S1-16).
create table policy_file (
  part text not null check (part in ('home', 'shipped')),
  name text not null,
  bytes blob not null,
  primary key (part, name)
) strict, without rowid;
