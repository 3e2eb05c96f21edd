/**
 * Ended tasks that are old enough to go, and their rows out of the tables of tasks, attempts, sessions, turns and questions.
 *
 * O1. A tree of tasks goes as a whole or not at all. Every task of it must have ended long enough ago. No session of it is still being
 *     cleared away, no question of it is open, and no unfinished task outside uses what it left as input.
 * O2. The deepest go first, so a tree that is larger than one turn stays a tree until its root goes.
 * O3. A look reads a bounded number of roots. The place where it ended is kept in memory, and after the last it begins again at the oldest.
 */
import { assertGrant, type Grant } from '../../guard/grant.ts'
import type { Store } from '../../store/database.ts'

export interface RemovedTasks {
  tasks: number
  sessions: number
}

export interface OldTasks {
  /** The next of them, deepest first, at most so many tasks. `isOver`: the next call begins again at the oldest. */
  next(beforeMs: number, tasksMax: number): { tasks: string[]; isOver: boolean }
  /** Begins again at the oldest. */
  again(): void
  /** Deletes their rows. Answers how many of what. */
  remove(grant: Grant, tasks: readonly string[]): RemovedTasks
}

const ROOTS_AT_ONCE = 200

/** Joined in exactly this order: the planner takes a recursive table for a large one, and would read all tasks for each tree. */
const TREE = `with recursive tree(id, depth) as (
  select id, 0 from task where id = ?
  union all select task.id, tree.depth + 1 from tree cross join task on task.parent = tree.id)`

interface Root {
  id: string
  endedAtMs: number
}

export function createOldTasks(store: Pick<Store, 'prepare'>): OldTasks {
  const roots = store.prepare(
    `select id, ended_at_ms as endedAtMs from task indexed by task_root_by_end
     where parent is null and ended_at_ms is not null and ended_at_ms < ? and (ended_at_ms, id) > (?, ?)
     order by ended_at_ms, id limit ${ROOTS_AT_ONCE}`,
  )
  const members = store.prepare(`${TREE} select id from tree order by depth desc, id limit ?`).pluck()
  const unfinished = store.prepare(
    `${TREE} select 1 from tree cross join task on task.id = tree.id
     where task.state in ('queued', 'running') or task.ended_at_ms is null or task.ended_at_ms >= ?
       or exists (select 1 from session where session.task = task.id and session.state <> 'recycled')
       or exists (select 1 from approval where approval.task = task.id and approval.state = 'asked') limit 1`,
  )
  const used = store.prepare(
    `${TREE}, left_over(sha256) as (select artifact.sha256 from tree cross join artifact on artifact.task = tree.id)
     select 1 from left_over where
       exists (select 1 from task where json_valid(inputs) and json_extract(inputs, '$.manifest') = left_over.sha256
         and state in ('queued', 'running'))
       or exists (select 1 from task where json_valid(inputs) and json_extract(inputs, '$.pack') = left_over.sha256
         and state in ('queued', 'running')) limit 1`,
  )
  const removals = [
    'step_try',
    'approval',
    'session',
    'attempt',
    'egress_reservation',
    'egress_account',
    'egress_out',
    'late',
    'run',
  ].map((table) => store.prepare(`delete from ${table} where task = ?`))
  // They name their session, so they go before it.
  const ofSessions = ['turn', 'chat_close'].map((table) =>
    store.prepare(`delete from ${table} where session in (select id from session where task = ?)`),
  )
  // Of a run, whose steps have gone before it.
  const ofRuns = ['step', 'plan', 'state_history'].map((table) => store.prepare(`delete from ${table} where run = ?`))
  const removeTask = store.prepare(`delete from task where id = ? and state not in ('queued', 'running')`)
  let after: Root = { id: '', endedAtMs: Number.MIN_SAFE_INTEGER }

  return {
    next(beforeMs, tasksMax) {
      const tasks: string[] = []
      const found = roots.all(beforeMs, after.endedAtMs, after.id) as Root[]
      for (const root of found) {
        if (unfinished.get(root.id, beforeMs) === undefined && used.get(root.id) === undefined) {
          const some = members.all(root.id, tasksMax - tasks.length + 1) as string[]
          const fits = some.length <= tasksMax - tasks.length
          tasks.push(...(fits ? some : some.slice(0, -1)))
          // The rest of this tree comes in the next turn.
          if (!fits) return { tasks, isOver: false }
        }
        after = root
      }
      const isOver = found.length < ROOTS_AT_ONCE
      if (isOver) after = { id: '', endedAtMs: Number.MIN_SAFE_INTEGER }
      return { tasks, isOver }
    },
    again() {
      after = { id: '', endedAtMs: Number.MIN_SAFE_INTEGER }
    },
    remove(grant, tasks) {
      assertGrant(grant, 'retention.prune', 'retention.turn')
      let sessions = 0
      let gone = 0
      for (const task of tasks) {
        for (const each of ofSessions) each.run(task)
        for (const each of ofRuns) each.run(task)
        const [, , ended] = removals.map((each) => each.run(task).changes)
        sessions += ended ?? 0
        gone += removeTask.run(task).changes
      }
      return { tasks: gone, sessions }
    },
  }
}
