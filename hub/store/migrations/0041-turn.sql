-- owner: hub/work/dispatch/turns.ts
-- Prompts that people give to a session while it lives, one turn each. `is_open`: its program works on it, also after it was cancelled, until it leaves it.
create table turn (
  session text not null references session (id),
  id text not null,
  number integer not null,
  prompt text not null,
  asked_by text not null,
  state text not null check (state in ('waiting', 'running', 'done', 'cancelled', 'failed')),
  is_open integer not null default 0 check (is_open in (0, 1)),
  stop_reason text,
  error text,
  text text not null default '',
  text_bytes integer not null default 0,
  is_cut integer not null default 0 check (is_cut in (0, 1)),
  usage text,
  created_at_ms integer not null,
  started_at_ms integer,
  ended_at_ms integer,
  primary key (session, id),
  unique (session, number)
) strict, without rowid;
create index turn_unfinished on turn (session, number) where state in ('waiting', 'running') or is_open = 1;

-- Chats that were told to end.
create table chat_close (
  session text primary key references session (id),
  why text not null,
  at_ms integer not null
) strict, without rowid;
