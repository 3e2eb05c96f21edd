-- owner: hub/work/dispatch/tasks.ts
-- Of the request that a task's key stands for: the same key with another request is refused (fault F7). The key itself has stood beside its
-- principal since; one of before, which stands alone, answers nobody any more. A column that is null changes no row's check.
alter table task add column request_digest text;
