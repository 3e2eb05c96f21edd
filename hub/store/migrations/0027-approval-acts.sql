-- owner: hub/guard/operator/approval-rows.ts
-- An act that the rules ask about waits here too, bound to exactly that act. SQLite changes no check in place.
create table approval_next (
  id text primary key,
  kind text not null check (kind in ('ask_user', 'plan', 'step', 'checkpoint', 'tool', 'selection', 'budget', 'act')),
  state text not null check (state in ('asked', 'approved', 'refused', 'expired', 'used')),
  task text references task (id),
  session text references session (id),
  step text,
  ask_id text,
  agent text,
  question text not null,
  answer text not null default '',
  principal text not null,
  operation text,
  resource text,
  act text,
  slot text,
  bound text,
  rule text,
  revision text,
  tier text not null check (tier in ('read', 'write', 'execute', 'destructive', 'external')),
  due_ms integer not null,
  wait_ms integer not null,
  left_ms integer,
  on_timeout text not null check (on_timeout in ('abort', 'notify', 'defer')),
  deferred integer not null default 0,
  ending text check (ending in ('over', 'superseded', 'timed_out')),
  answered_by text,
  links text not null default '[]',
  asked_at_ms integer not null,
  used_at_ms integer,
  ended_at_ms integer,
  check ((kind = 'act') = (act is not null)),
  unique (session, ask_id)
) strict;

insert into approval_next (id, kind, state, task, session, ask_id, agent, question, answer, principal, tier, due_ms, wait_ms, on_timeout,
  asked_at_ms, ended_at_ms)
select id, kind, state, task, session, ask_id, (select agent from session where session.id = approval.session), question, answer,
  'agent:' || coalesce((select agent from session where session.id = approval.session), '') || '/' || session, 'execute', 1800000, 1800000,
  'abort', asked_at_ms, ended_at_ms from approval;

drop table approval;

alter table approval_next rename to approval;

create index approval_by_state on approval (state);

create index approval_by_task on approval (task);

create index approval_by_slot on approval (slot) where slot is not null;

create unique index approval_one_open on approval (slot) where state = 'asked' and slot is not null;

create index approval_live_act on approval (operation) where act is not null and state in ('asked', 'approved');
