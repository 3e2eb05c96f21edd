-- owner: hub/guard/operator/approvals.ts
create table approval (
  id text primary key,
  kind text not null check (kind in ('ask_user')),
  state text not null check (state in ('asked', 'approved', 'refused', 'expired')),
  task text not null references task (id),
  session text not null references session (id),
  ask_id text not null,
  question text not null,
  answer text not null default '',
  asked_at_ms integer not null,
  ended_at_ms integer,
  unique (session, ask_id)
) strict;

create index approval_by_state on approval (state);
