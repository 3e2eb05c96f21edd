-- owner: hub/work/session-cards.ts
-- What each session was started with (its card as its file said it, its limits, its schemas), kept until the session is gone: it is supervised
-- by this, whatever becomes of the card meanwhile.
create table session_card (
  session text primary key,
  started_with text not null
) strict, without rowid;
