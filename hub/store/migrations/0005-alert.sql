-- owner: hub/guard/alerts/rows.ts
-- `holds`: a critical one that keeps the hub safe until `hub resume --alert ID`.
create table alert (
  id text primary key,
  cause text not null,
  severity text not null check (severity in ('info', 'warning', 'critical')),
  text text not null,
  state text not null check (state in ('raised', 'sent', 'given_up')),
  holds integer not null check (holds in (0, 1)),
  lasts_ms integer,
  raised_at_ms integer not null,
  resolved_at_ms integer
) strict;

create unique index alert_open_once on alert (cause) where resolved_at_ms is null;
create index alert_by_raised on alert (raised_at_ms);

-- owner: hub/guard/alerts/rows.ts
-- The outbox: what one channel has still to tell, or has told. The id goes along, so that a receiver may drop a repeat.
create table alert_delivery (
  id text primary key,
  alert text not null references alert (id) on delete cascade,
  channel text not null,
  event text not null check (event in ('raised', 'louder', 'resolved')),
  severity text not null check (severity in ('info', 'warning', 'critical')),
  text text not null,
  state text not null check (state in ('raised', 'sent', 'given_up')),
  tries integer not null,
  created_at_ms integer not null,
  ended_at_ms integer,
  detail text not null
) strict;

create index alert_delivery_by_state on alert_delivery (state, channel);
create index alert_delivery_by_alert on alert_delivery (alert);
