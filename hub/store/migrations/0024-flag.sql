-- owner: hub/guard/operator/flags.ts
-- What the operator switched. `value` is null where only an emergency entry switched it; the other columns are that entry, all null without one.
-- It ends `for_ms` after its mark, which is kept by both clocks with the boot it was read in.
create table flag (
  name text primary key,
  value integer check (value in (0, 1)),
  set_at_ms integer not null,
  emergency integer check (emergency in (0, 1)),
  reason text,
  for_ms integer,
  boot_id text,
  boot_ms integer,
  wall_ms integer
) strict;
