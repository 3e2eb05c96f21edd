-- owner: hub/work/egress/proposals.ts
-- What agents were refused outside, so that a person can permit exactly that.
create table egress_proposal (
  id integer primary key,
  agent text not null,
  upstream text not null,
  class text not null check (class in ('metered', 'free', 'read', 'write', 'connect')),
  count integer not null check (count > 0),
  first_at_ms integer not null,
  last_at_ms integer not null,
  unique (agent, upstream, class)
) strict;
