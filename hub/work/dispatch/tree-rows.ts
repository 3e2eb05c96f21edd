/** The tree that tasks are: what is below one, and what is above it. `map` reads a row (rows.ts). */
import type { Store } from '../../store/database.ts'

/** The task of a step: below the face of its run (faces.ts), and delegated by no session. */
export const isStep = (task: { kind: 'run' | null; parent: string | null; parentSession: string | null }): boolean =>
  task.kind !== 'run' && task.parent !== null && task.parentSession === null

export interface TreeRows<Row> {
  children(parent: string): Row[]
  /** Reads none of the tasks themselves. */
  countChildren(parent: string): number
  hasUnfinishedChildren(parent: string): boolean
  /**
   * The task above it that no session waits for, and how many tasks it and its whole tree hold. A step of a person's run is such a root: the run has a
   * limit of its own.
   */
  tree(task: string): { root: string; size: number }
  /** The task at its root alone, and whose it is. Undefined for a task that nobody knows. */
  rootOf(task: string): { root: string; rootAgent: string | null } | undefined
  /** When the latest delegated tasks below the root of this one were made, newest first. */
  latestChildren(task: string, limit: number): number[]
}

export function createTreeRows<Row>(store: Pick<Store, 'prepare'>, map: (raw: unknown) => Row): TreeRows<Row> {
  const openChild = store.prepare(`select 1 from task where parent = ? and state in ('queued', 'running') limit 1`)
  const countOf = store.prepare('select count(*) from task where parent = ?').pluck()
  const rootOf = (task: string) =>
    store
      .prepare(
        `with recursive up(id, parent, agent) as (select id, parent, agent from task where id = ? union all
           select task.id, task.parent, task.agent from task join up on task.id = up.parent)
         select id as root, agent as rootAgent from up where parent is null`,
      )
      .get(task) as { root: string; rootAgent: string | null } | undefined

  const waitedForBy = store
    .prepare(
      `with recursive up(id, parent, depth, level) as (select id, parent, depth, 0 from task where id = ? union all
         select task.id, task.parent, task.depth, level + 1 from task join up on task.id = up.parent where up.depth > 0)
       select id from up order by level desc limit 1`,
    )
    .pluck()

  return {
    countChildren: (parent) => countOf.get(parent) as number,
    hasUnfinishedChildren: (parent) => openChild.get(parent) !== undefined,
    children: (parent) => store.prepare('select * from task where parent = ? order by id').all(parent).map(map),
    latestChildren: (task, limit) =>
      store
        .prepare(
          `with recursive down(id) as (select ? union all select task.id from task join down on task.parent = down.id)
           select created_at_ms from down join task using (id) where parent_session is not null order by 1 desc limit ?`,
        )
        .pluck()
        .all(rootOf(task)?.root, limit) as number[],
    rootOf,
    tree(task) {
      const root = (waitedForBy.get(task) as string | undefined) ?? task
      const size = store
        .prepare(
          `with recursive down(id) as (select ? union all select task.id from task join down on task.parent = down.id)
           select count(*) from down`,
        )
        .pluck()
        .get(root) as number
      return { root, size }
    },
  }
}
