/**
 * A plan: the graph of steps that one run is made from, and the states of its steps and of the run. A running run keeps its plan, whatever
 * becomes of the definition (S3-12). Pure.
 *
 * How a run ended is said by its face, a task row, and never copied: `runStateOf` merges both (S3-29).
 */
import { createMachine } from '../../base/machine.ts'
import type { OnTimeout, Tier } from '../approval.ts'
import type { TaskState } from '../task.ts'

export type StepState =
  | 'pending'
  | 'ready'
  | 'running'
  | 'awaiting_approval'
  | 'retry_wait'
  | 'completed'
  | 'failed'
  | 'skipped'
  | 'cancelled'

/** Which state of a step may follow which. Rows move by it (hub/work/runs/runs.ts), and so does the round that says what they become (round.ts). */
export const stepMachine = createMachine<StepState>('step', {
  pending: ['ready', 'skipped', 'cancelled'],
  ready: ['running', 'awaiting_approval', 'retry_wait', 'completed', 'failed', 'skipped', 'cancelled'],
  running: ['completed', 'failed', 'retry_wait', 'awaiting_approval', 'cancelled'],
  awaiting_approval: ['ready', 'running', 'completed', 'failed', 'skipped', 'cancelled'],
  retry_wait: ['ready', 'failed', 'skipped', 'cancelled'],
  completed: [],
  failed: [],
  skipped: [],
  cancelled: [],
})

/** What a run has that its face has not: where it is while it is not over. */
export type RunPhase = 'planning' | 'awaiting_approval' | 'queued' | 'running' | 'checkpoint' | 'reconciling'
export type RunState = RunPhase | 'completed' | 'failed' | 'cancelled' | 'timed_out'

const BEFORE_IT_BEGINS: readonly RunPhase[] = ['planning', 'awaiting_approval']

/**
 * The one state that is shown of a run. The end is the face's alone; a phase counts only while the face is open, and never says that a run works
 * whose face has not begun. Until runs are shown, only tests call it. */
export function runStateOf(face: { state: TaskState }, run: { phase: RunPhase }): RunState {
  switch (face.state) {
    case 'succeeded':
      return 'completed'
    case 'queued':
      return BEFORE_IT_BEGINS.includes(run.phase) ? run.phase : 'queued'
    case 'running':
      return run.phase === 'queued' ? 'running' : run.phase
    default:
      return face.state
  }
}

/** What of another step is waited for: that it completed, that it failed, or that it did either. A skipped step never is any of them (D-R14). */
export type NeedOf = 'completed' | 'failed' | 'ended'
export interface Need {
  step: string
  of: NeedOf
}

/** What follows a try that ended without a result, so that nobody knows what it did (D-R7). */
export type OnUnknown = 'rerun' | 'ask' | 'fail'

export type StepKind =
  | 'agent'
  | 'research'
  | 'review'
  | 'implement'
  | 'execute'
  | 'test'
  | 'shell'
  | 'subrun'
  | 'plan-text'
  | 'notify'
  | 'collect'

/** Parameters as they are written: texts may hold templates (template.ts). */
export type Params = Readonly<Record<string, unknown>>

export interface Repair {
  agent: string
  params: Params
}

export interface PlanStep {
  id: string
  kind: StepKind
  /** Undefined: by `needs`, or a kind that needs none. */
  agent?: string | undefined
  needs: readonly string[]
  params: Params
  /** Of execute, test and shell: the words of the command. */
  run?: readonly string[] | undefined
  /** Of subrun. */
  definition?: string | undefined
  /** Of plan-text and notify. */
  text?: string | undefined
  after: readonly Need[]
  /** `any`: the first of `after` that ends as it asks is enough. */
  join: 'all' | 'any'
  /** Its failure fails nothing. */
  optional: boolean
  /** A run without an agent that can do it goes on, marked `noop`; else it is refused when it is made. */
  noopIfMissing: boolean
  tier: Tier
  timeoutMs?: number | undefined
  onUnknown: OnUnknown
  retry: { max: number; delayMs: number; repair?: Repair | undefined }
  /** Each is tried once, in this order, when the retries are used up. */
  fallback: readonly string[]
  checkpoint?: { ask: string; timeoutMs?: number | undefined; onTimeout?: OnTimeout | undefined } | undefined
  /** Shown, and never run by itself (S3-21). */
  rollback?: string | undefined
}

export interface Plan {
  /** The definition it was made from; undefined for a plan that came with its run. */
  definition?: string | undefined
  onFailure?: OnFailure | undefined
  limits: { timeMs: number; tasks: number; usdMicro?: number | undefined }
  /** Steps at once, where the definition says so. */
  maxParallel?: number | undefined
  /** In topological order, and by id where that leaves a choice (S2-35): every step stands after all that it needs. */
  steps: readonly PlanStep[]
  /** The value of the whole run, with templates. */
  output?: unknown
}

/** What a ladder that is used up leads to: a person is asked, or the step fails (D-R1). */
export type OnFailure = 'pause' | 'fail'
