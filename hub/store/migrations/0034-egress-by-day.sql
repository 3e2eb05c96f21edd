-- owner: hub/work/egress/money/reservations.ts
-- What upstreams and their models cost in a day is added up from the index alone.
create index egress_reservation_by_day on egress_reservation (day, upstream, model, state, usd, input, output);
