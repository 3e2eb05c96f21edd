/**
 * The only mover of `run`, `plan`, `step` and `step_try`.
 *
 * N1. A run is made whole in one transaction: face, plan, steps. What its plan asks for and cannot be done yet is refused by name.
 * N2. How a run ends is said by its face alone (S3-29). The step rows of a run that ended in another way follow in the next round.
 * N3. Every step is in its table of steps, is one update that names the old state, and is written into the history with it.
 * N4. A try is one task and each task one try: a step that has an open try cannot be started, whatever its loop thinks.
 */
import { canonicalText, digestOf } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { markOf } from '../../base/span.ts'
import { assertGrant, type Grant } from '../../guard/grant.ts'
import type { TryCause } from '../../protocol/runs/ladder.ts'
import { type OnFailure, type Plan, type RunPhase, type StepState, stepMachine } from '../../protocol/runs/plan.ts'
import { neverReruns } from '../../protocol/runs/tiers.ts'
import type { TaskOutcome } from '../../protocol/task.ts'
import type { Store } from '../../store/database.ts'
import { createMove } from '../../store/move.ts'
import type { TaskRow } from '../dispatch/rows.ts'
import type { NewTask, Tasks } from '../dispatch/tasks.ts'
import type { Observed } from './facts.ts'
import type { History } from './history.ts'
import { createRunRows, type RunRows, type StepRow } from './run-rows.ts'

export type NewRun = Pick<NewTask, 'inputs' | 'priority' | 'hold' | 'sensitivity' | 'requestedBy' | 'once'> & {
  plan: Plan
  params: Readonly<Record<string, unknown>>
  onFailure: OnFailure
}

/** A try that begins: its task, made in the same transaction. */
export interface Started {
  run: string
  step: string
  by: TryCause
  task: string
}

export interface Runs extends RunRows {
  /** Makes a run, which begins with the next round. Throws `unsupported_mode`, with step and word, for what cannot be run yet. */
  create(grant: Grant, wish: NewRun): TaskRow
  /** Carries out what a round found; of `value` the outcome of the run is made if it succeeds. Answers how many rows of history it wrote. */
  observe(grant: Grant, run: string, observed: readonly Observed[], value: () => unknown): number
  /** Throws `conflict` unless this step may start now. */
  requireStartable(run: string, step: string): StepRow
  started(grant: Grant, started: Started): void
}

/** What a round may not be asked for yet: whoever is to be asked has no entrance. */
function requireSupported({ steps }: Plan, onFailure: OnFailure): void {
  const no = (what: string) => new HubError('unsupported_mode', `${what} cannot be run yet`)
  if (onFailure === 'pause') throw no('onFailure: pause')
  for (const { id, kind, tier, onUnknown, checkpoint, retry } of steps) {
    if (kind !== 'agent') throw no(`step ${id}: kind ${kind}`)
    if (neverReruns(tier)) throw no(`step ${id}: tier ${tier}`)
    if (onUnknown === 'ask') throw no(`step ${id}: onUnknown: ask`)
    if (checkpoint !== undefined) throw no(`step ${id}: a checkpoint`)
    if (retry.repair !== undefined) throw no(`step ${id}: a repair`)
  }
}

export function createRuns(parts: {
  store: Store
  clock: Clock
  steady: Pick<Clock, 'wallMs'>
  tasks: Pick<Tasks, 'insert' | 'task' | 'begun' | 'ended'>
  history: Pick<History, 'write'>
}): Runs {
  const { store, clock, steady, tasks, history } = parts
  const rows = createRunRows(store)
  const move = createMove(store)
  const addRun = store.prepare(`insert into run (task, phase, on_failure, params) values (?, 'queued', ?, ?)`)
  const addPlan = store.prepare('insert into plan (run, revision, text, digest) values (?, 1, ?, ?)')
  const addStep = store.prepare(`insert into step (run, id, place, state) values (?, ?, ?, 'pending')`)
  const addTry = store.prepare(
    `insert into step_try (run, step, ordinal, by, task, started_at_ms)
     values (?, ?, (select coalesce(max(ordinal), 0) + 1 from step_try where run = ? and step = ?), ?, ?, ?)`,
  )
  const setPhase = store.prepare('update run set phase = ? where task = ?')
  const countTry = store.prepare('update run set tries = tries + 1 where task = ?')

  function moveStep(run: string, id: string, to: StepState, why: string, set: Record<string, unknown> = {}): void {
    const step = rows.step(run, id)
    if (step === undefined) throw new HubError('internal', '', { reason: `run ${run} has no step ${id}` })
    move(stepMachine, { table: 'step', key: { run, id }, state: step.state }, to, { ...set, why })
    history.write({ run, step: id, was: step.state, became: to, why })
  }
  function enter(run: string, phase: RunPhase, why: string): void {
    const was = rows.run(run)?.phase ?? null
    setPhase.run(phase, run)
    history.write({ run, step: null, was, became: phase, why })
  }

  function carryOut(grant: Grant, run: string, act: Observed, value: () => unknown): void {
    switch (act.act) {
      case 'begin':
        tasks.begun(grant, run)
        enter(run, 'running', 'begin')
        break
      case 'phase':
        enter(run, act.phase, 'round')
        break
      case 'ready':
        moveStep(run, act.step, 'ready', 'needs', { retry_mark: null, retry_ms: null })
        break
      case 'settle':
        moveStep(run, act.step, act.to, act.why, { ended_at_ms: steady.wallMs() })
        break
      case 'again': {
        const { by, retries, fallback, inMs } = act.rung
        const wait = { retry_mark: JSON.stringify(markOf(clock)), retry_ms: inMs }
        const to = act.why === 'asked_for' ? 'ready' : 'retry_wait'
        moveStep(run, act.step, to, act.why, { by, retries, fallback, ...wait })
        break
      }
      case 'end':
        end(grant, run, act, value)
        break
      default:
        // `requireSupported` has refused every plan in which a person is asked.
        throw new HubError('internal', '', { reason: `run ${run}: ${act.act} has no entrance yet` })
    }
  }

  function end(grant: Grant, run: string, { as, why }: Observed & { act: 'end' }, value: () => unknown): void {
    history.write({ run, step: null, was: 'running', became: as, why })
    const detail = as === 'failed' ? `step ${why} did not succeed` : `it ended: ${why}`
    const code = as === 'timed_out' ? 'ttl_expired' : 'turn_failed'
    const outcome: TaskOutcome = { outcome: 'succeeded', value: as === 'succeeded' ? value() : null }
    tasks.ended(grant, run, as === 'succeeded' ? { state: as, outcome } : { state: as, error: { code, detail } })
  }

  function requireStartable(run: string, id: string): StepRow {
    const step = rows.step(run, id)
    if (step?.state !== 'ready') throw new HubError('conflict', `step ${id} of run ${run} is ${step?.state}`)
    return step
  }

  return {
    ...rows,
    requireStartable,
    create(grant, { plan, params, onFailure, ...wish }) {
      assertGrant(grant, 'run.create')
      requireSupported(plan, onFailure)
      const face = tasks.insert(grant, {
        ...{ ...wish, kind: 'run', agent: undefined, needs: [], params: {}, ttlMs: undefined },
      })
      addRun.run(face.id, onFailure, JSON.stringify(params))
      addPlan.run(face.id, canonicalText(plan), digestOf('hub-plan-v1', plan))
      for (const [place, { id }] of plan.steps.entries()) addStep.run(face.id, id, place)
      history.write({ run: face.id, step: null, was: null, became: 'queued', why: 'created' })
      return face
    },
    observe(grant, run, observed, value) {
      assertGrant(grant, 'run.observe')
      for (const act of observed) carryOut(grant, run, act, value)
      return observed.length
    },
    started(grant, { run, step, by, task }) {
      assertGrant(grant, 'run.step')
      const { startedAtMs } = requireStartable(run, step)
      const now = steady.wallMs()
      addTry.run(run, step, run, step, by, task, now)
      countTry.run(run)
      moveStep(run, step, 'running', by, { started_at_ms: startedAtMs ?? now })
    },
  }
}
