-- owner: hub/guard/policy/decisions.ts
-- One row for each question the policy was asked, not for each time it was asked; field names of OPA's decision log.
create table decision (
  decision_id text primary key,
  timestamp_ms integer not null,
  path text not null,
  input text not null,
  input_digest text not null,
  erased text not null,
  result text not null,
  labels text not null,
  bundles text not null,
  revision text not null,
  bundle_version integer not null
) strict, without rowid;

create index decision_by_bundle_version on decision (bundle_version);

create trigger decision_is_append_only_update before update on decision
begin
  select raise(abort, 'decisions are append-only');
end;
