/** Rows of runs as the program sees them, and the queries that only read. Only runs.ts moves rows. */
import type { TryCause } from '../../protocol/runs/ladder.ts'
import type { OnFailure, Plan, RunPhase, StepState } from '../../protocol/runs/plan.ts'
import type { Store } from '../../store/database.ts'
import { isObject, readText } from '../../store/reading.ts'

export interface RunRow {
  /** Its face. */
  task: string
  phase: RunPhase
  onFailure: OnFailure
  params: Readonly<Record<string, unknown>>
  /** Tries that were started, over all steps. */
  tries: number
}

export interface StepRow {
  run: string
  id: string
  state: StepState
  /** How its present try came about, or how the next one will. */
  by: TryCause
  retries: number
  fallback: number
  /** JSON of the instant (base/span.ts) since which it waits for `retryMs`; null if it does not. */
  retryMark: string | null
  retryMs: number | null
  why: string | null
  startedAtMs: number | null
  endedAtMs: number | null
}

export interface TryRow {
  step: string
  ordinal: number
  by: TryCause
  task: string
}

export interface RunRows {
  run(task: string): RunRow | undefined
  /** Undefined for a run that nobody knows. Throws `unreadable` for a plan that cannot be read. */
  planOf(run: string): Plan | undefined
  /** In the order of the plan. */
  steps(run: string): StepRow[]
  step(run: string, id: string): StepRow | undefined
  /** Every try, oldest first. */
  tries(run: string): TryRow[]
  /** Runs of which the face or a step is not over, oldest first. */
  open(): string[]
  /** Steps of all runs that have a task that is not over. */
  stepsAtWork(): number
}

const OVER = `('completed', 'failed', 'skipped', 'cancelled')`

export function createRunRows(store: Pick<Store, 'prepare'>): RunRows {
  const run = store.prepare('select task, phase, on_failure as onFailure, params, tries from run where task = ?')
  const plan = store.prepare('select text from plan where run = ? order by revision desc limit 1').pluck()
  const columns = `run, id, state, by, retries, fallback, retry_mark as retryMark, retry_ms as retryMs, why, started_at_ms as startedAtMs,
    ended_at_ms as endedAtMs`
  const steps = store.prepare(`select ${columns} from step where run = ? order by place`)
  const step = store.prepare(`select ${columns} from step where run = ? and id = ?`)
  const tries = store.prepare('select step, ordinal, by, task from step_try where run = ? order by step, ordinal')
  const open = store
    .prepare(
      `select task.id from task where task.id in (
         select id from task indexed by task_face where kind = 'run' and state in ('queued', 'running')
         union select run from step indexed by step_open where state not in ${OVER})
       order by task.created_at_ms, task.id`,
    )
    .pluck()
  const atWork = store
    .prepare(
      `select count(*) from task join step_try on step_try.task = task.id
       where task.state in ('queued', 'running') and task.kind is null`,
    )
    .pluck()

  return {
    run(task) {
      const row = run.get(task) as (Omit<RunRow, 'params'> & { params: string }) | undefined
      return row && { ...row, params: readText<RunRow['params']>(row.params, isObject, {}) }
    },
    planOf: (id) => readText<Plan | undefined>(plan.get(id) as string | undefined, isObject, undefined),
    steps: (id) => steps.all(id) as StepRow[],
    step: (id, name) => step.get(id, name) as StepRow | undefined,
    tries: (id) => tries.all(id) as TryRow[],
    open: () => open.all() as string[],
    stepsAtWork: () => atWork.get() as number,
  }
}
