-- Old rows are found by their age, and each deleted row looks up its neighbours: without an index each of these questions
-- reads a whole table. An index over JSON holds only rows whose JSON can be read: a damaged row stops neither this step nor its own deletion.
-- The owners of the tables do not change.
create index task_root_by_end on task (ended_at_ms, id) where parent is null and ended_at_ms is not null;

create index task_by_manifest on task (json_extract(inputs, '$.manifest')) where json_valid(inputs);

create index task_by_pack on task (json_extract(inputs, '$.pack')) where json_valid(inputs);

create index session_by_attempt on session (attempt);

create index approval_by_task on approval (task);

create index artifact_by_age on artifact (created_at_ms);

create index alert_by_resolved on alert (resolved_at_ms) where resolved_at_ms is not null;
