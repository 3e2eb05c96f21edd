-- owner: hub/work/artifacts.ts
-- How far its content may be passed on (hub/protocol/data-class.ts); null: nothing was said.
alter table artifact add column data_class text;
