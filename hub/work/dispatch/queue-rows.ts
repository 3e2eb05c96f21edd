/** What waits to start, and how much of it is held or at work. `map` reads a row (rows.ts). */
import type { Store } from '../../store/database.ts'

/** How many queued tasks are looked at: for one agent or one set of capabilities, and in all. */
const QUEUE_SHARE = 32
const QUEUE_MAX = 512

/** The hub itself asks for the tasks of services. */
export const SERVICES = 'hub:services'

export interface QueueRows<Row> {
  /**
   * What may start: the first task of each agent before the second of any. So a thousand tasks of one busy agent hide no other's (fault
   * D11), and one whose start waits for a person hides none. A wait that began in the future comes from a wall clock that was set back since; it holds nothing up (T71).
   */
  queued(nowMs: number): Row[]
  /** Those that are queued or running, without the hub's own tasks of services. */
  countByState(): Record<string, number>
  /** Queued and waiting for the operator's word. */
  countHeld(): number
  /** Whether any queued task of people or agents may start without a word. */
  hasUnheld(): boolean
}

export function createQueueRows<Row>(store: Pick<Store, 'prepare'>, map: (raw: unknown) => Row): QueueRows<Row> {
  const all = (sql: string, ...values: unknown[]) => store.prepare(sql).all(...values)

  return {
    queued: (nowMs) =>
      all(
        `select task.* from (
           select id, row_number() over (partition by coalesce(agent, needs), sensitivity order by depth desc, priority desc, created_at_ms) as place
             from task where state = 'queued' and held = 0 and (not_before_ms <= ? or waits_from_ms > ?)
               and id not in (select task from approval where act is not null and state in ('asked', 'approved')
                 and operation = 'task.dispatch' and state = 'asked' and task is not null)
         ) as due join task on task.id = due.id where place <= ${QUEUE_SHARE}
         order by place, depth desc, priority desc, created_at_ms limit ${QUEUE_MAX}`,
        nowMs,
        nowMs,
      ).map(map),
    countByState: () =>
      Object.fromEntries(
        (
          all(
            `select state, count(*) as n from task where state in ('queued', 'running') and requested_by <> '${SERVICES}' group by state`,
          ) as {
            state: string
            n: number
          }[]
        ).map(({ state, n }) => [state, n]),
      ),
    countHeld: () =>
      Number(
        store
          .prepare(`select count(*) from task where state = 'queued' and held = 1 and requested_by <> '${SERVICES}'`)
          .pluck()
          .get(),
      ),
    hasUnheld: () =>
      store
        .prepare(`select 1 from task where state = 'queued' and held = 0 and requested_by <> ? limit 1`)
        .get(SERVICES) !== undefined,
  }
}
