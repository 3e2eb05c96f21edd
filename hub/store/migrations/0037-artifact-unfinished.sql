-- owner: hub/work/artifacts.ts
-- 1: kept while its program worked or when it fell, and no end of the task has confirmed it; null: stored by its program or at its end.
alter table artifact add column unfinished integer check (unfinished = 1);
