/**
 * What is written down when a session is lost, by whoever hears of it first (S0-4, S1-12): its end, what becomes of its task, what its agent
 * answers for. The deciding is in supervisor.ts.
 */
import type { Clock } from '../../base/clock.ts'
import type { HubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Events } from '../../guard/events.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Grant } from '../../guard/grant.ts'
import type { Modes } from '../../guard/modes.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import type { Registry } from '../registry.ts'
import type { Exit } from '../sandbox/containers.ts'
import type { LossFacts } from './moves.ts'
import type { SessionRow } from './rows.ts'
import { decideAfterCrash, decideAfterInterruption, decideAfterStartFailure, decideAfterStopped } from './supervisor.ts'
import type { AfterLoss, Tasks } from './tasks.ts'

const LAUNCHER = hubPrincipal('launcher')
const AUDIT_EFFECT_MAX = 500

export interface Losses {
  isLive(session: string): boolean
  observe(session: string, effect: (grant: Grant) => { auditEffect: string }): void
  /** It never ran. */
  startFailed(session: SessionRow, error: HubError): void
  /** Its program ended without a result. */
  ended(session: string, exit: Exit): void
  /** It runs, but does not live: recycled, its task by the same ladder as after a crash (S1-49). */
  unhealthy(session: string, detail: string): void
  /** Its container is gone without an exit of its own. */
  interrupted(session: string, detail: string): void
  /** Its program gives back a task that it was told to stop; within the transaction of that result. */
  stopped(grant: Grant, session: SessionRow, detail: string): void
}

export function createLosses(parts: {
  clock: Clock
  log: Log
  gate: Gate
  modes: Modes
  events: Events
  tasks: Tasks
  registry: Registry
  /** The engine made a container otherwise than it was told. */
  doubtEngine: () => void
}): Losses {
  const { clock, log, gate, modes, events, tasks, registry } = parts

  const observe = (session: string, effect: (grant: Grant) => { auditEffect: string }): void =>
    void gate.admit({ principal: LAUNCHER, operation: 'session.observe', resource: `session:${session}` }, effect)

  function isLive(id: string): boolean {
    const row = tasks.session(id)
    return row !== undefined && row.state !== 'recycling' && row.state !== 'recycled'
  }

  function lose(id: string, facts: LossFacts, next: AfterLoss, also?: (grant: Grant) => void): void {
    observe(id, (grant) => {
      also?.(grant)
      tasks.lost(grant, id, facts, next)
      const { agent = '' } = tasks.session(id) ?? {}
      const halted = registry.find(agent)?.state === 'halted' ? `; agent ${agent} is halted` : ''
      return { auditEffect: `${facts.reason}: ${facts.detail}`.slice(0, AUDIT_EFFECT_MAX - halted.length) + halted }
    })
  }

  /** The fault of its agent: counted, repeated as often as its card allows, then given up. */
  function fell(id: string, reason: 'crashed' | 'unhealthy', exit: Omit<LossFacts, 'reason' | 'detail'>, how: string) {
    const session = tasks.session(id)
    if (session === undefined || !isLive(id)) return
    const task = tasks.task(session.task)
    const card = registry.find(session.agent)?.card
    // A service is given up by the breaker, not by a count over its whole life.
    const restarts = card?.mode === 'service' ? Number.POSITIVE_INFINITY : (card?.restarts ?? 0)
    // Held while it ran: everything was stopped, by the watchdog perhaps, and that is no fault of the program.
    const stopping = modes.has('draining') || task?.held === true
    const { next, giveUp } = decideAfterCrash({
      crashes: task?.crashes ?? 0,
      restarts,
      agent: session.agent,
      how,
      stopping,
      nowMs: clock.wallMs(),
    })
    lose(id, { reason: stopping ? 'shutdown' : reason, ...exit, detail: how }, next, (grant) => {
      if (!stopping) registry.crashed(grant, session.agent, giveUp, how)
    })
    if (giveUp) events.publish('hub.agent.crashed.v1', `agent:${session.agent}`, { task: session.task, how })
  }

  const losses: Losses = {
    isLive,
    observe,
    startFailed(session, error) {
      log.error({ session: session.id, code: error.code, reason: error.reason }, 'a session did not start')
      if (error.code === 'profile_mismatch') parts.doubtEngine()
      if (!isLive(session.id)) return
      // The engine's answer was lost, and its program has begun: no failed start any more, but work that was cut.
      if (tasks.session(session.id)?.publicKey !== null) return losses.interrupted(session.id, error.message)
      const next = decideAfterStartFailure(error, {
        attempts: tasks.task(session.task)?.attempts ?? 0,
        refusals: tasks.startsRefused(session.task),
        nowMs: clock.wallMs(),
      })
      const detail = `${error.code}: ${error.message}`
      lose(session.id, { reason: 'failed', exitCode: null, oomKilled: false, detail }, next)
    },
    ended: (id, exit) => fell(id, 'crashed', exit, exit.oomKilled ? 'out of memory' : `exit code ${exit.exitCode}`),
    unhealthy(id, detail) {
      log.warn({ session: id, detail }, 'a session shows no life and is recycled')
      fell(id, 'unhealthy', { exitCode: null, oomKilled: false }, detail)
    },
    interrupted(id, detail) {
      const session = tasks.session(id)
      if (session === undefined || !isLive(id)) return
      const repeatable = registry.find(session.agent)?.card.repeatable ?? false
      const started = session.state !== 'provisioning' && session.state !== 'starting'
      const next = decideAfterInterruption({
        repeatable,
        started,
        stopping: modes.has('draining') || tasks.task(session.task)?.held === true,
        nowMs: clock.wallMs(),
      })
      lose(id, { reason: 'orphan', exitCode: null, oomKilled: false, detail }, next)
    },
    stopped(grant, { id, agent, task }, detail) {
      const card = registry.find(agent)?.card
      const row = tasks.task(task)
      const stopping = modes.has('draining') || row?.held === true
      const next = decideAfterStopped({
        crashes: row?.crashes ?? 0,
        restarts: card?.restarts ?? 0,
        repeatable: card?.repeatable ?? false,
        stopping,
        nowMs: clock.wallMs(),
      })
      const reason = stopping ? 'shutdown' : 'orphan'
      tasks.lost(grant, id, { reason, exitCode: null, oomKilled: false, detail }, next)
    },
  }
  return losses
}
