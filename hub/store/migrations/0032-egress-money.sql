-- owner: hub/work/egress/money/reservations.ts
-- One row for each metered call: what it may cost at worst, and what it cost in the end. Amounts are millionths of a US dollar. `price` holds
-- the figures that it is settled by, whatever the files say by then; `null` where nothing costs money.
create table egress_reservation (
  id text primary key,
  state text not null,
  session text not null,
  attempt text not null,
  task text not null,
  root text not null,
  agent text not null,
  upstream text not null,
  shape text not null,
  model text not null,
  price text not null,
  price_version text not null,
  surcharges text not null,
  day text not null,
  slot integer not null,
  cap integer not null,
  choices integer not null,
  input_bytes integer not null,
  request_hash text,
  reserved_usd integer not null,
  reserved_input integer not null,
  reserved_output integer not null,
  usd integer,
  input integer,
  whole_input integer,
  output integer,
  status integer,
  why text not null,
  at_ms integer not null,
  settled_at_ms integer,
  check_sum text
) strict;

create index egress_reservation_open on egress_reservation (id) where state = 'open';

create index egress_reservation_by_session on egress_reservation (session, at_ms);

create index egress_reservation_by_task on egress_reservation (task, at_ms);

-- owner: hub/work/egress/money/accounts.ts
-- What was spent and what is reserved, added up: of a session, an attempt, a task, a tree (its root), an agent and day, the hub and day, and
-- of an agent within some minutes. `task`: with which it is deleted; null for those of days and minutes.
create table egress_account (
  scope text not null,
  key text not null,
  task text,
  held_usd integer not null,
  held_input integer not null,
  held_output integer not null,
  spent_usd integer not null,
  estimated_usd integer not null,
  input integer not null,
  output integer not null,
  calls integer not null,
  raised_usd integer not null,
  told integer not null,
  at_ms integer not null,
  check_sum text,
  primary key (scope, key)
) strict, without rowid;

create index egress_account_by_task on egress_account (task) where task is not null;

-- owner: hub/work/egress/money/quota-pause.ts
-- An upstream whose quota is used up, with the secret it is used up for. It ends with the first call that is answered after `until_ms`.
create table egress_pause (
  upstream text not null,
  secret text not null,
  until_ms integer not null,
  since_ms integer not null,
  tries integer not null,
  why text not null,
  primary key (upstream, secret)
) strict, without rowid;
