-- owner: hub/work/retention/home-size.ts
-- How many bytes the parts of the home took, once an hour; rows older than a month are deleted.
create table room_sample (
  at_ms integer primary key,
  parts text not null
) strict;
