-- owner: hub/guard/identity/credentials.ts
-- A console is a credential too. SQLite changes no check in place.
create table credential_next (
  name text primary key,
  kind text not null check (kind in ('webhook', 'app', 'console', 'token')),
  scope text not null,
  secret_hash text not null unique,
  created_at_ms integer not null,
  expires_at_ms integer,
  used_at_ms integer,
  revoked_at_ms integer
) strict;

insert into credential_next select * from credential;

drop table credential;

alter table credential_next rename to credential;
