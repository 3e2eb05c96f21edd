-- owner: hub/guard/audit/months.ts
-- Where the records of each month are: `open` in audit_record; `ended` and `sealed` in a table of their own, made by renaming that one; sealed
-- ones in a signed file too; `dropped` only in the file. A home that already had records keeps them where they are, as its first month.
create table audit_month (
  first_seq integer primary key,
  name text not null unique,
  state text not null check (state in ('open', 'ended', 'sealed', 'dropped')),
  previous text not null,
  last_seq integer,
  head text,
  ended_at_ms integer,
  signed text,
  checkpoints integer,
  bytes integer,
  blocks blob
) strict;

create unique index audit_month_open on audit_month (state) where state = 'open';
