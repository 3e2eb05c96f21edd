-- owner: hub/work/egress/money/reservations.ts
-- What the provider said of the input of this call before it was reserved; null where it was not asked.
alter table egress_reservation add column counted integer;

-- A row whose state is damaged is not settled either.
drop index egress_reservation_open;

create index egress_reservation_unsettled on egress_reservation (id)
where state not in ('measured', 'estimated', 'released', 'corrected');

-- Calls that took more than the most that their provider's count allowed.
create index egress_reservation_undercounted on egress_reservation (upstream, settled_at_ms)
where counted is not null and whole_input > reserved_input;

-- An account that is damaged is added up again from its calls alone.
create index egress_reservation_by_root on egress_reservation (root);

create index egress_reservation_by_attempt on egress_reservation (attempt);

create index egress_reservation_by_slot on egress_reservation (slot, agent);
