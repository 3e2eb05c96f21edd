/**
 * The loop of runs, a part of the dispatch loop: rows are read, the round is planned purely (round.ts), and what it says is carried out through the
 * gate. No await at all.
 *
 * U1. What happened is one record for a run and round. Each start is one of its own, for which the rules are asked again; each end by force too.
 * U2. It runs before the dispatcher and after the backlog, in the same turn: what the backlog held begins nothing, and what became ready starts at once.
 * U3. A run that cannot be carried out does not stop the others: it is left alone for a while, longer each time.
 * U4. Only rows are believed: what was missed while the hub was away is found by the next round.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Gate } from '../../guard/gate.ts'
import type { StopGrant } from '../../guard/grant.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import { render } from '../../protocol/runs/template.ts'
import { labelFact, originOf } from '../dispatch/origin.ts'
import type { Servable } from '../dispatch/servable.ts'
import type { Tasks } from '../dispatch/tasks.ts'
import type { Reap, Start } from './facts.ts'
import { planRound } from './round.ts'
import { REAPED, type RunReader, type RunView } from './run-facts.ts'
import type { Runs } from './runs.ts'

const RUNNER = hubPrincipal('runner')
/** Runs that one round looks at; the rest in the next. */
const RUNS_A_ROUND = 64
const WAIT_MIN_MS = 1000
const WAIT_MAX_MS = 60_000

export interface Runner {
  round(): void
}

export function createRunner(parts: {
  clock: Clock
  log: Log
  gate: Gate
  tasks: Tasks
  runs: Runs
  reader: RunReader
  servable: Pick<Servable, 'require'>
}): Runner {
  const { clock, log, gate, tasks, runs, reader, servable } = parts
  /** Runs whose round failed: how often in a row, and until when they are left alone. Monotonic time. */
  const failing = new Map<string, { times: number; untilMs: number }>()
  let after = ''

  /** As it is now: what the last step left counts, also if it was settled a moment ago. */
  function outputOf(run: string): unknown {
    const view = reader.viewOf(run, new Map())
    return view?.plan.output === undefined ? null : render(view.plan.output, view.scope)
  }

  function carryOut({ facts }: RunView, round: ReturnType<typeof planRound>): void {
    const { run } = facts
    if (round.observed.length > 0)
      gate.admit({ principal: RUNNER, operation: 'run.observe', resource: `run:${run}` }, (grant) => {
        runs.observe(grant, run, round.observed, () => outputOf(run))
        return {
          auditEffect: round.observed.map((act) => ('step' in act ? `${act.act} ${act.step}` : act.act)).join(', '),
        }
      })
    for (const each of round.reaps) reap(run, each)
  }

  function reap(run: string, { step, why }: Reap): void {
    const task = runs.tries(run).findLast((each) => each.step === step)?.task
    if (task === undefined) return
    const end = { state: 'cancelled', error: { code: 'ttl_expired', detail: `${REAPED}${why}` } } as const
    const stop = (grant: StopGrant) => tasks.stop(grant, task, end, 'cancelled')
    gate.admitStop({ principal: RUNNER, operation: 'run.reap', resource: `task:${task}` }, stop)
  }

  /** Answers the code with which it was refused; undefined if it began, or if it is only not the time for it. */
  function start({ facts, plan, face, scope }: RunView, { step: id, by, agent }: Start): string | undefined {
    const { run } = facts
    const step = plan.steps.find((each) => each.id === id)
    if (step === undefined) throw new HubError('internal', '', { reason: `run ${run} has no step ${id}` })
    const { needs, timeoutMs: ttlMs } = step
    const { sensitivity, priority, inputs, requestedBy } = face
    const rules = { agent: agent ?? null, needs, origin: originOf(face), ...labelFact(face) }
    try {
      gate.admit({ principal: RUNNER, operation: 'run.step', resource: `run:${run}/${id}`, facts: rules }, (grant) => {
        runs.requireStartable(run, id)
        const params = render(step.params, scope) as Record<string, unknown>
        servable.require({ agent, needs, ttlMs, sensitivity, params }, grant.narrow.agents)
        const own = { agent, needs, params, ttlMs, hold: false, inputs: step.after.length === 0 ? inputs : null }
        const task = tasks.insert(grant, { ...own, priority, sensitivity, requestedBy, step: { face } })
        runs.started(grant, { run, step: id, by, task: task.id })
        return { auditEffect: `task:${task.id}` }
      })
      return undefined
    } catch (thrown) {
      const { code } = toHubError(thrown)
      if (code === 'store_unavailable' || code === 'internal') throw thrown
      // It waits: for the mode, for a person whom own rules ask, or because something else was first.
      return code === 'conflict' || code === 'needs_approval' || code.startsWith('mode_') ? undefined : code
    }
  }

  function look(run: string): void {
    const view = reader.viewOf(run, new Map())
    if (view === undefined) throw new HubError('unreadable', `the rows of run ${run} cannot be read`)
    const round = planRound(view.facts)
    carryOut(view, round)
    const now = round.starts.length === 0 ? undefined : reader.viewOf(run, new Map())
    if (now === undefined) return
    const refused = new Map(
      round.starts.flatMap((each) => {
        const code = start(now, each)
        return code === undefined ? [] : [[each.step, code] as const]
      }),
    )
    if (refused.size === 0) return
    // What follows a refusal is written down in the same turn.
    const again = reader.viewOf(run, refused)
    if (again !== undefined) carryOut(again, { ...planRound(again.facts), starts: [] })
  }

  return {
    round() {
      const open = runs.open()
      for (const id of failing.keys()) if (!open.includes(id)) failing.delete(id)
      const at = open.indexOf(after) + 1
      const now = clock.monotonicMs()
      for (const run of [...open.slice(at), ...open.slice(0, at)].slice(0, RUNS_A_ROUND)) {
        after = run
        if (now < (failing.get(run)?.untilMs ?? 0)) continue
        try {
          look(run)
          failing.delete(run)
        } catch (thrown) {
          const { code, reason } = toHubError(thrown)
          if (code === 'store_unavailable' || code.startsWith('mode_')) return
          const times = (failing.get(run)?.times ?? 0) + 1
          failing.set(run, { times, untilMs: now + Math.min(WAIT_MIN_MS * 2 ** times, WAIT_MAX_MS) })
          log.error({ run, code, reason, times }, 'a round of a run failed; it is tried again')
        }
      }
    },
  }
}
