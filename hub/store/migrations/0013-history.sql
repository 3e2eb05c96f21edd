-- owner: hub/guard/audit/decision-marks.ts
-- The last record that names each decision, as far as the records were looked through (`meta`: audit_marked). A decision is deleted with the
-- month of that record.
create table audit_decision (
  decision_id text primary key,
  last_seq integer not null
) strict, without rowid;

create index audit_decision_by_seq on audit_decision (last_seq);

-- Frequent questions about tasks and sessions must not read every row there ever was.
create index task_by_state_and_id on task (state, id);

create index task_of_service on task (agent, id) where requested_by = 'hub:services';

create index session_by_created on session (created_at_ms);

-- By what the state is not: a session with a damaged state may have a container, like any that has not ended.
create index session_not_ended on session (created_at_ms) where state <> 'recycled';
