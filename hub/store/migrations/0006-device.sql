-- owner: hub/guard/identity/devices.ts
-- Of a secret only its hash is kept; whoever reads this file cannot send a heartbeat with it.
create table device (
  name text primary key,
  kind text not null check (kind in ('webhook')),
  secret_hash text not null unique,
  created_at_ms integer not null,
  used_at_ms integer,
  revoked_at_ms integer
) strict;
