-- owner: hub/work/pinned-images.ts
-- The SHA-256 of the card that the image was last read with; null until it is read once (S1-56).
alter table agent_image add column card_digest text;
