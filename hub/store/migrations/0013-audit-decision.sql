-- owner: hub/guard/audit/decision-marks.ts
-- The last record that names each decision, as far as the records were looked through (`meta`: audit_marked): with the month of that record
-- a decision goes.
create table audit_decision (
  decision_id text primary key,
  last_seq integer not null
) strict, without rowid;

create index audit_decision_by_seq on audit_decision (last_seq);
