-- owner: hub/work/dispatch/breaker.ts
create table recycle (
  seq integer primary key,
  agent text not null,
  session text not null,
  reason text not null,
  boot_id text not null,
  boot_ms integer not null,
  wall_ms integer not null
) strict;

create index recycle_by_agent on recycle (agent, seq);

-- owner: hub/work/dispatch/breaker.ts
create table halted_agent (
  agent text primary key,
  since_ms integer not null,
  reason text not null
) strict;
