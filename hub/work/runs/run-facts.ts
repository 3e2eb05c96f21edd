/** What a round is told of one run, read from its rows and from the tasks of its tries: never from an event, so a crash in between costs nothing. */
import type { Clock } from '../../base/clock.ts'
import { elapsedMs, type Mark } from '../../base/span.ts'
import { type Modes, permits } from '../../guard/modes.ts'
import type { TryEnd } from '../../protocol/runs/ladder.ts'
import type { Plan } from '../../protocol/runs/plan.ts'
import type { Scope, StepScope } from '../../protocol/runs/template.ts'
import { taskMachine } from '../../protocol/task.ts'
import { isObject, readText } from '../../store/reading.ts'
import type { TaskRow } from '../dispatch/rows.ts'
import type { Tasks } from '../dispatch/tasks.ts'
import type { Registry } from '../registry.ts'
import type { AgentFacts, RunFacts, StepFacts, TryFacts } from './facts.ts'
import type { RunRow, RunRows, StepRow } from './run-rows.ts'

/** The error with which the runner ends a try by force; nothing else ends a task so. */
export const REAPED = 'ended by its run: '

/** Steps of all runs that have a task at once; well below what the queue shows (queue-rows.ts). */
const AT_WORK_MAX = 64
/** Without a word of the definition: one after the other. */
const PARALLEL = 1
/** Before its first try a step has none; after a rung was taken the next one is not made yet. */
const WITHOUT_TRY: ReadonlySet<string> = new Set(['pending', 'ready', 'retry_wait'])

export interface RunView {
  row: RunRow
  plan: Plan
  face: TaskRow
  facts: RunFacts
  /** For templates: parameters, and what its steps left. */
  scope: Scope
}

export interface RunReader {
  /** Undefined for one without rows that can be read. `refused`: codes with which starts were refused in this round. */
  viewOf(run: string, refused: ReadonlyMap<string, string>): RunView | undefined
}

export function createRunReader(parts: {
  clock: Clock
  steady: Pick<Clock, 'wallMs'>
  modes: Modes
  rows: RunRows
  tasks: Pick<Tasks, 'task' | 'sessionOfTask' | 'attempts' | 'session'>
  registry: Pick<Registry, 'find'>
  whyWaits: (task: TaskRow) => string
}): RunReader {
  const { clock, steady, modes, rows, tasks, registry, whyWaits } = parts

  function hasJoined(task: string): boolean {
    return tasks.attempts(task).some(({ session }) => session !== null && tasks.session(session)?.publicKey != null)
  }
  function endOf(task: TaskRow): TryEnd | null {
    if (!taskMachine.isTerminal(task.state)) return null
    const { id, state, outcome, error } = task
    const isReaped = error?.detail.startsWith(REAPED) === true
    return {
      outcome: state === 'succeeded' ? 'succeeded' : outcome === null ? 'lost' : 'failed',
      code: error?.code ?? null,
      joined: hasJoined(id),
      by: isReaped ? 'runner' : state === 'cancelled' ? 'person' : 'itself',
    }
  }
  function tryFacts(id: string): TryFacts | null {
    const task = tasks.task(id)
    if (task === undefined) return null
    const isAsking = tasks.sessionOfTask(id)?.state === 'input_required'
    const is = task.kind === 'run' ? 'subrun' : task.state === 'queued' ? 'queued' : isAsking ? 'asking' : 'working'
    return { task: id, ended: endOf(task), is, waitsFor: whyWaits(task) || null }
  }
  function stepFacts(step: StepRow, latest: string | undefined, refused: string | undefined): StepFacts {
    const { state, by, retries, fallback, retryMark, retryMs } = step
    const mark = readText<Mark | undefined>(retryMark ?? undefined, isObject, undefined)
    const last = latest === undefined || WITHOUT_TRY.has(state) ? null : tryFacts(latest)
    return {
      ...{ state, by, retries, fallback, last, refused: refused ?? null, question: null, approval: null },
      waitLeftMs: mark === undefined ? 0 : Math.max(0, (retryMs ?? 0) - elapsedMs(mark, clock)),
    }
  }
  function agentFacts(name: string): AgentFacts {
    const agent = registry.find(name)
    const halted = agent !== undefined && agent.state !== 'registered'
    return { halted, imageMissing: agent !== undefined && agent.imageId === undefined, quotaLeftMs: null }
  }
  function modeFacts(): RunFacts['mode'] {
    if (permits(modes.current(), 'new_work')) return null
    return { why: modes.current(), word: 'hub status' }
  }
  function scopeOf(row: RunRow, steps: readonly StepRow[], latest: ReadonlyMap<string, string>): Scope {
    const left = steps.map(({ id, state }): [string, StepScope] => {
      const task = tasks.task(latest.get(id) ?? '')
      const value = state === 'completed' ? (task?.outcome?.value ?? null) : null
      const error = state === 'failed' ? (task?.outcome?.error ?? task?.error?.detail ?? null) : null
      return [id, { state, value, error }]
    })
    return { params: row.params, steps: new Map(left) }
  }

  return {
    viewOf(run, refused) {
      const [row, plan, face] = [rows.run(run), rows.planOf(run), tasks.task(run)]
      if (row === undefined || plan === undefined || face === undefined) return undefined
      const latest = new Map(rows.tries(run).map(({ step, task }) => [step, task]))
      const steps = rows.steps(run)
      const named = plan.steps.flatMap(({ agent, fallback }) => [...(agent === undefined ? [] : [agent]), ...fallback])
      const began = face.startedAtMs ?? steady.wallMs()
      const facts: RunFacts = {
        ...{ run, plan, phase: row.phase, onFailure: row.onFailure, tries: row.tries, mode: modeFacts() },
        face: { state: face.state, held: face.held },
        timeLeftMs: plan.limits.timeMs - Math.max(0, steady.wallMs() - began),
        steps: new Map(steps.map((step) => [step.id, stepFacts(step, latest.get(step.id), refused.get(step.id))])),
        agents: new Map([...new Set(named)].map((name) => [name, agentFacts(name)])),
        ...{ isBudgetSpent: false, starter: 'in_force', starterApproval: null, overlaps: null, isRestored: false },
        slots: { run: true, ofRun: plan.maxParallel ?? PARALLEL, ofHub: AT_WORK_MAX - rows.stepsAtWork() },
      }
      return { row, plan, face, facts, scope: scopeOf(row, steps, latest) }
    },
  }
}
