-- owner: hub/work/retention/room.ts
-- How many bytes the parts of the home took, once an hour; older ones than a month go.
create table room_sample (
  at_ms integer primary key,
  parts text not null
) strict;
