-- owner: hub/work/runs/runs.ts
-- What a run has beside its face. How it ended is said by the face alone.
create table run (
  task text primary key references task (id),
  phase text not null check (phase in ('planning', 'awaiting_approval', 'queued', 'running', 'checkpoint', 'reconciling')),
  on_failure text not null check (on_failure in ('pause', 'fail')),
  params text not null,
  tries integer not null default 0
) strict, without rowid;

-- Each revision of its plan, as JSON. A row never changes.
create table plan (
  run text not null references run (task),
  revision integer not null,
  text text not null,
  digest text not null,
  primary key (run, revision)
) strict, without rowid;

-- `retry_mark`: when its wait began, by both clocks; `retry_ms`: how long it is.
create table step (
  run text not null references run (task),
  id text not null,
  place integer not null,
  state text not null
    check (state in ('pending', 'ready', 'running', 'awaiting_approval', 'retry_wait', 'completed', 'failed', 'skipped', 'cancelled')),
  by text not null default 'first' check (by in ('first', 'retry', 'repair', 'fallback')),
  retries integer not null default 0,
  fallback integer not null default 0,
  retry_mark text,
  retry_ms integer,
  why text,
  started_at_ms integer,
  ended_at_ms integer,
  primary key (run, id)
) strict, without rowid;

create index step_open on step (run) where state not in ('completed', 'failed', 'skipped', 'cancelled');

-- Each try of a step is one task, and each task one try: a step cannot be started twice.
create table step_try (
  run text not null,
  step text not null,
  ordinal integer not null,
  by text not null check (by in ('first', 'retry', 'repair', 'fallback')),
  task text not null unique references task (id),
  started_at_ms integer not null,
  primary key (run, step, ordinal),
  foreign key (run, step) references step (run, id)
) strict, without rowid;

-- owner: hub/work/runs/history.ts
-- Every step of a run and of its steps, in the order in which they were made. A row never changes; it goes with its run.
create table state_history (
  seq integer primary key,
  run text not null,
  step text,
  was text,
  became text not null,
  why text not null,
  at_ms integer not null
) strict;

create index state_history_of_run on state_history (run, seq);

create trigger state_history_is_append_only before update on state_history
begin
  select raise(abort, 'what has happened does not change');
end;
