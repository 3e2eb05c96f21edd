-- owner: hub/guard/identity/credentials.ts
-- The id of the credential, because a name may be used again: inputs and idempotency keys belong to the id, not to the name (fault F9). Null for
-- older ones, which keep what they own by name; every new credential has an id, so it never owns what belongs to such a name.
alter table credential add column id text;
