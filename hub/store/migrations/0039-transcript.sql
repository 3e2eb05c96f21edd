-- owner: hub/work/transcripts.ts
-- The conversation of an unfinished task, of which only the file's digest is here. `session` stored it; `resumed_by` is the session that went on
-- with it, and `tries` counts those of them that fell.
create table transcript (
  task text primary key,
  session text not null,
  sha256 text not null,
  size integer not null check (size >= 0),
  tries integer not null default 0 check (tries >= 0),
  resumed_by text,
  kept_at_ms integer not null
) strict, without rowid;
