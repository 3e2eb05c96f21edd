-- owner: hub/work/artifacts.ts
-- Since when an artifact is withheld: its session was quarantined or revoked.
alter table artifact add column quarantined_at_ms integer;

create index artifact_by_session on artifact (session);
