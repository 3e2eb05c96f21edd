/** What waits to start, and how much of it is held or at work. `map` reads a row (rows.ts). */
import type { Store } from '../../store/database.ts'

/** How many queued tasks are looked at: for one agent or one set of capabilities, and in all. */
const QUEUE_SHARE = 32
const QUEUE_MAX = 512

/** The hub itself asks for the tasks of services. */
export const SERVICES = 'hub:services'

/** A step of a run is as old as its run: else it would stand behind all that was asked for since. */
const SINCE = 'coalesce(face.created_at_ms, task.created_at_ms)'
/** What waits for the operator's word: what is queued, and runs that are under way. A task below a held run waits for that one's. */
export const HELD = `task.held = 1 and (task.state = 'queued' or (task.state = 'running' and task.kind = 'run'))
  and task.requested_by <> '${SERVICES}'
  and not exists (select 1 from task as face where face.id = task.parent and face.kind = 'run' and face.held = 1)`

export interface QueueRows<Row> {
  /**
   * What may start: the first task of each agent before the second of any; nothing below a run that is held. So a thousand tasks of one busy agent hide no other's (fault
   * D11), and one whose start waits for a person hides none. A wait that began in the future comes from a wall clock that was set back since; it holds nothing up (T71).
   */
  queued(nowMs: number): Row[]
  /** Those for agents that are queued or running, without the hub's own tasks of services. */
  countByState(): Record<string, number>
  /** Waiting for the operator's word. */
  countHeld(): number
  /** Whether any queued task of people or agents, or a run, may go on without a word. */
  hasUnheld(): boolean
}

export function createQueueRows<Row>(store: Pick<Store, 'prepare'>, map: (raw: unknown) => Row): QueueRows<Row> {
  const all = (sql: string, ...values: unknown[]) => store.prepare(sql).all(...values)

  return {
    queued: (nowMs) =>
      all(
        `select task.* from (
           select task.id, ${SINCE} as since,
             row_number() over (partition by coalesce(task.agent, task.needs), task.sensitivity order by task.depth desc, task.priority desc, ${SINCE}) as place
             from task left join task as face on face.id = task.parent and face.kind = 'run'
             where task.state = 'queued' and task.held = 0 and task.kind is null and (task.not_before_ms <= ? or task.waits_from_ms > ?)
               and (face.id is null or (face.state = 'running' and face.held = 0))
               and task.id not in (select task from approval where act is not null and state in ('asked', 'approved')
                 and operation = 'task.dispatch' and state = 'asked' and task is not null)
         ) as due join task on task.id = due.id where place <= ${QUEUE_SHARE}
         order by place, depth desc, priority desc, since limit ${QUEUE_MAX}`,
        nowMs,
        nowMs,
      ).map(map),
    countByState: () =>
      Object.fromEntries(
        (
          all(
            `select state, count(*) as n from task where state in ('queued', 'running') and kind is null and requested_by <> '${SERVICES}' group by state`,
          ) as {
            state: string
            n: number
          }[]
        ).map(({ state, n }) => [state, n]),
      ),
    countHeld: () => Number(store.prepare(`select count(*) from task where ${HELD}`).pluck().get()),
    hasUnheld: () =>
      store
        .prepare(
          `select 1 from task where held = 0 and (state = 'queued' or (state = 'running' and kind = 'run')) and requested_by <> ? limit 1`,
        )
        .get(SERVICES) !== undefined,
  }
}
