-- owner: hub/guard/identity/credentials.ts
-- What may speak to the hub for the operator, besides the socket: webhooks and apps (devices), tokens (automation). Of a secret only its
-- hash is kept. `scope`: the rights of a device, the actions of a token.
create table credential (
  name text primary key,
  kind text not null check (kind in ('webhook', 'app', 'token')),
  scope text not null,
  secret_hash text not null unique,
  created_at_ms integer not null,
  expires_at_ms integer,
  used_at_ms integer,
  revoked_at_ms integer
) strict;
