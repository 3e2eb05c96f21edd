-- owner: hub/work/dispatch/tasks.ts
-- The digest of the request that belongs to a task's key: the same key with another request is refused (fault F7). From now on the key includes its
-- principal; an older key, without one, no longer matches any request. A column that is null changes no row's check.
alter table task add column request_digest text;
