-- Each table names its one owner file. Instants are epoch milliseconds, UTC; a text time is refused by STRICT tables (X7).

-- owner: hub/store/meta.ts
create table meta (key text primary key, value text not null) strict;

-- owner: hub/guard/audit/log.ts
create table audit_record (
  seq integer primary key,
  previous text not null,
  hash text not null,
  at_ms integer not null,
  boot_id text not null,
  principal text not null,
  action text not null,
  resource text not null,
  decision_id text,
  policy_revision text,
  payload_hash text,
  outcome text not null check (outcome in ('ok', 'refused', 'failed')),
  reason text not null,
  effect text not null
) strict;

create trigger audit_record_is_append_only_update before update on audit_record
begin
  select raise(abort, 'audit records are append-only');
end;

create trigger audit_record_is_append_only_delete before delete on audit_record
begin
  select raise(abort, 'audit records are append-only');
end;

-- owner: hub/guard/audit/checkpoint.ts
create table checkpoint (
  size integer primary key,
  head text not null,
  previous text not null,
  document text not null
) strict;

-- owner: hub/guard/identity/nonces.ts
create table nonce (
  scope text not null,
  value text not null,
  expires_at_ms integer not null,
  primary key (scope, value)
) strict, without rowid;

create index nonce_by_expiry on nonce (expires_at_ms);

-- owner: hub/guard/modes.ts
create table condition (
  name text primary key,
  since_ms integer not null,
  reason text not null
) strict;

-- owner: hub/work/registry.ts
create table agent (
  name text primary key,
  state text not null check (state in ('registered', 'unhealthy', 'suspended', 'retired')),
  reason text not null default '',
  crashes integer not null default 0
) strict;

-- owner: hub/work/dispatch/tasks.ts
create table task (
  id text primary key,
  state text not null check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'timed_out')),
  agent text,
  needs text not null,
  params text not null,
  inputs text,
  priority integer not null,
  held integer not null check (held in (0, 1)),
  depth integer not null,
  parent text references task (id),
  parent_session text,
  delegate_id text,
  chain text not null,
  ceiling text,
  ttl_ms integer,
  deadline_boot text,
  attempts integer not null default 0,
  crashes integer not null default 0,
  not_before_ms integer not null default 0,
  outcome text,
  error text,
  requested_by text not null,
  idempotency_key text unique,
  created_at_ms integer not null,
  started_at_ms integer,
  ended_at_ms integer,
  unique (parent_session, delegate_id)
) strict;

create index task_by_state on task (state, held, depth desc, priority desc, created_at_ms);
create index task_by_parent on task (parent);

-- owner: hub/work/dispatch/tasks.ts
create table attempt (
  id text primary key,
  task text not null references task (id),
  ordinal integer not null,
  state text not null check (state in ('assigned', 'starting', 'running', 'settled', 'lost', 'stopped')),
  session text,
  exit_code integer,
  oom_killed integer,
  started_at_ms integer not null,
  ended_at_ms integer,
  unique (task, ordinal)
) strict;

-- owner: hub/work/dispatch/tasks.ts
create table session (
  id text primary key,
  agent text not null,
  task text not null references task (id),
  attempt text not null references attempt (id),
  state text not null,
  generation integer not null default 1,
  container_name text not null,
  container_id text,
  image_id text not null,
  authority text not null,
  public_key text,
  expires_at_ms integer not null,
  expires_boot text not null,
  exit_reason text,
  detail text not null default '',
  created_at_ms integer not null,
  ended_at_ms integer
) strict;

create index session_by_state on session (state);
create index session_by_task on session (task);

-- owner: hub/work/artifacts.ts
create table artifact (
  task text not null,
  name text not null,
  sha256 text not null,
  size integer not null,
  session text,
  created_at_ms integer not null,
  primary key (task, name)
) strict, without rowid;

create index artifact_by_digest on artifact (sha256);
