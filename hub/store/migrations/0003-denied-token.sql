-- owner: hub/guard/identity/deny-list.ts
create table denied_token (
  jti text primary key,
  expires_at_ms integer not null
) strict, without rowid;
