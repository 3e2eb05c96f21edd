-- owner: hub/guard/operator/contact.ts
-- One row per card ever printed. Of its words nothing is kept but the digest; at most one row is not revoked.
create table contact_card (
  digest text primary key,
  name text not null,
  operator text not null,
  made_at_ms integer not null,
  expires_at_ms integer,
  revoked_at_ms integer,
  tested_at_ms integer,
  test_digest text,
  test_tries integer not null default 0,
  confirmed_at_ms integer,
  used_at_ms integer,
  reached_at_ms integer,
  watchdog_told integer not null default 0
) strict, without rowid;

create unique index contact_card_current on contact_card (ifnull(revoked_at_ms, 0)) where revoked_at_ms is null;
