-- owner: hub/work/sandbox/image-checks.ts
-- What the operator's program said of an image, for as long as that program is called in the same way (S1-56).
create table image_check (
  check_name text not null,
  image_id text not null,
  run_digest text not null,
  passed integer not null check (passed in (0, 1)),
  reason text not null,
  at_ms integer not null,
  primary key (check_name, image_id)
) strict, without rowid;
