/**
 * A session is lost (S0-4, S1-12, X6). The upper half decides purely what becomes of its task. The lower half writes that down for whoever
 * hears of the loss first.
 */

import type { Clock } from '../../base/clock.ts'
import type { HubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Alerts } from '../../guard/alerts/alerts.ts'
import type { Events } from '../../guard/events.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Grant } from '../../guard/grant.ts'
import type { Modes } from '../../guard/modes.ts'
import type { Flags } from '../../guard/operator/flags.ts'
import { hubPrincipal } from '../../guard/principal.ts'
import { restartsOf } from '../../protocol/agent.ts'
import type { Registry } from '../registry.ts'
import type { Exit } from '../sandbox/containers.ts'
import type { SessionCards } from '../session-cards.ts'
import { lostStep } from './faces.ts'
import type { LossFacts } from './moves.ts'
import type { SessionRow } from './rows.ts'
import type { RuntimeGate } from './runtime.ts'
import type { AfterLoss, Tasks } from './tasks.ts'
import { isStep } from './tree-rows.ts'

const BACKOFF_MS = 1000
const BACKOFF_MAX_MS = 30_000

const backoffMs = (failures: number) => Math.min(BACKOFF_MS * 2 ** failures, BACKOFF_MAX_MS)

/**
 * A crash: the program ended without a result. What becomes of its task is one answer, whether its agent is to blame another. It is restarted
 * `restarts` times; then the task fails, and the agent is blamed: it is unhealthy. A program
 * that has its task and may not run twice is not restarted: the task fails, and the agent goes on (fault C34). With the flag `restarts` off, what
 * would be restarted is held until somebody releases it. While the hub is stopping it is no crash: the program was told to finish, and its task waits for the operator's word (docs/safety.md 5).
 */
function decideAfterCrash(facts: {
  crashes: number
  restarts: number
  /** Its card says `repeatable: true`, or its program never had the task. */
  mayRepeat: boolean
  /** The flag `restarts` is on, or it is a service. */
  restartsItself: boolean
  task: string
  agent: string
  how: string
  stopping: boolean
  nowMs: number
}): { next: AfterLoss; blames: boolean } {
  const { crashes, restarts, mayRepeat, restartsItself, task, agent, how, stopping, nowMs } = facts
  if (stopping) return { blames: false, next: { again: { crashed: false, held: true, notBeforeMs: nowMs } } }
  if (crashes < restarts && !mayRepeat) {
    const detail = `agent ${agent} ended without a result: ${how}. \`hub task retry ${task}\` runs it again. The hub does that by itself only if the card says \`repeatable: true\``
    return { blames: false, next: { end: { state: 'failed', error: { code: 'not_repeatable', detail } } } }
  }
  if (crashes < restarts)
    return {
      blames: false,
      next: { again: { crashed: true, held: !restartsItself, notBeforeMs: nowMs + backoffMs(crashes) } },
    }
  const detail = `agent ${agent} ended without a result ${crashes + 1} times; last: ${how}`
  return { blames: true, next: { end: { state: 'failed', error: { code: 'agent_unhealthy', detail } } } }
}

/** An interruption: hub, engine or machine took the session away. The task is repeated by itself only if the card says so (docs/safety.md 3). */
const decideAfterInterruption = (facts: {
  repeatable: boolean
  started: boolean
  stopping: boolean
  nowMs: number
}): AfterLoss => ({
  again: { crashed: false, held: facts.stopping || (facts.started && !facts.repeatable), notBeforeMs: facts.nowMs },
})

/**
 * The program says that it was told to stop before it was done. If the hub is stopping, the hub told it, and the task waits for a word.
 * Otherwise the engine or a person did: an interruption. As this is only the program's own word, it counts against its restarts; after
 * those the task is held.
 */
const decideAfterStopped = (facts: {
  crashes: number
  restarts: number
  repeatable: boolean
  stopping: boolean
  nowMs: number
}): AfterLoss => {
  const { crashes, restarts, repeatable, stopping, nowMs } = facts
  if (stopping) return { again: { crashed: false, held: true, notBeforeMs: nowMs } }
  const held = !repeatable || crashes >= restarts
  return { again: { crashed: true, held, notBeforeMs: nowMs + backoffMs(crashes) } }
}

/** How often a start is tried if the engine refuses it, and if the engine gives no clear answer to it although it answers otherwise. */
const REFUSED_TRIES_MAX = 3
const UNCLEAR_TRIES_MAX = 6
const REFUSED_WAIT_MS = 2000

/**
 * A session that never started. If the engine does not answer, the task waits. If the engine answers but does not do it (fault A4), it may
 * only be busy: a few tries, 2 s, 10 s and then 30 s apart; then the task fails with the engine's words. Any other cause ends the task.
 * `refusals`: how often the engine has refused to start this task.
 */
function decideAfterStartFailure(
  error: HubError,
  facts: { attempts: number; refusals: number; nowMs: number },
): AfterLoss {
  const { attempts, refusals, nowMs } = facts
  const again = (waitMs: number): AfterLoss => ({
    again: { crashed: false, held: false, notBeforeMs: nowMs + waitMs },
  })
  if (error.code === 'engine_unavailable') return again(backoffMs(Math.min(attempts, 5)))
  if (error.code !== 'engine_refused')
    return { end: { state: 'failed', error: { code: error.code, detail: error.message } } }
  const most = error.facts.engineStatus === undefined ? UNCLEAR_TRIES_MAX : REFUSED_TRIES_MAX
  if (refusals + 1 < most) return again(Math.min(REFUSED_WAIT_MS * 5 ** refusals, BACKOFF_MAX_MS))
  const detail = `${error.message} (tried ${refusals + 1} times)`
  return { end: { state: 'failed', error: { code: error.code, detail } } }
}

const LAUNCHER = hubPrincipal('launcher')
const AUDIT_EFFECT_MAX = 500

/** Its program has joined, and may have its task. */
const hasStarted = ({ state }: SessionRow): boolean => state !== 'provisioning' && state !== 'starting'

export interface Losses {
  isLive(session: string): boolean
  observe(session: string, effect: (grant: Grant) => { auditEffect: string }): void
  /** It never ran. */
  startFailed(session: SessionRow, error: HubError): void
  /** Its program ended without a result. */
  ended(session: string, exit: Exit): void
  /** It runs but shows no life. It is recycled, and its task is treated as after a crash (S1-49). */
  unhealthy(session: string, detail: string): void
  /** Somebody outside who watches programs says that it misbehaves. It is recycled like one that shows no life (S1-77). */
  reported(session: string, detail: string): void
  /** Its shim was told to end its program for this reason; what then ends is no crash of the program. */
  ending(session: string, detail: string): void
  /** Its container is gone without an exit of its own. */
  interrupted(session: string, detail: string): void
  /** Its program gives back a task because it was told to stop. Called within the transaction of that result. */
  stopped(grant: Grant, session: SessionRow, detail: string): void
}

export function createLosses(parts: {
  clock: Clock
  log: Log
  gate: Gate
  modes: Modes
  events: Events
  alerts: Pick<Alerts, 'raise'>
  tasks: Tasks
  registry: Registry
  cards: Pick<SessionCards, 'of'>
  flags: Pick<Flags, 'isOn'>
  /** Told if an engine made a container otherwise than it was told. */
  runtimeGate: Pick<RuntimeGate, 'doubt'>
}): Losses {
  const { clock, log, gate, modes, events, alerts, tasks, registry, cards, flags } = parts

  /** Sessions whose shim was told to end their program, and why. */
  const told = new Map<string, string>()
  tasks.listen({
    sessionChanged({ id, state }) {
      if (state === 'recycled') told.delete(id)
    },
  })

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

  /** A step is tried once: how it ends, or goes back to the queue, since its agent never had it (faces.ts F3). */
  function afterTry(session: SessionRow, next: AfterLoss, how: string): AfterLoss {
    const task = tasks.task(session.task)
    return task !== undefined && isStep(task) && hasStarted(session) ? { end: lostStep(how) } : next
  }

  function tellBlamed({ agent, task }: SessionRow, how: string): void {
    events.publish('hub.agent.crashed.v1', `agent:${agent}`, { task, how })
    alerts.raise(
      `agent_unhealthy:${agent}`,
      'warning',
      `Agent ${agent} ended without a result as often as its card allows (last: ${how}), and task ${task} failed. The agent does not start again until \`hub agent reset ${agent}\`.`,
    )
  }

  /** The agent's fault: counted, repeated as often as its card allows, then given up. */
  function fell(id: string, reason: 'crashed' | 'unhealthy', exit: Omit<LossFacts, 'reason' | 'detail'>, how: string) {
    const session = tasks.session(id)
    if (session === undefined || !isLive(id)) return
    const task = tasks.task(session.task)
    const card = cards.of(session)?.card
    // A service is given up by the breaker, not by a count over its whole life. It has no task that could be done twice.
    const isService = card?.mode === 'service'
    const restarts = isService ? Number.POSITIVE_INFINITY : card === undefined ? 0 : restartsOf(card)
    // It was held while it ran: everything was stopped, perhaps by the watchdog. That is no fault of the program.
    const stopping = modes.has('draining') || task?.held === true
    const { next, blames } = decideAfterCrash({
      crashes: task?.crashes ?? 0,
      restarts,
      mayRepeat: isService || card?.repeatable === true || !hasStarted(session),
      restartsItself: isService || flags.isOn('restarts'),
      task: session.task,
      agent: session.agent,
      how,
      stopping,
      nowMs: clock.wallMs(),
    })
    const isOnce = task !== undefined && isStep(task)
    lose(
      id,
      { reason: stopping ? 'shutdown' : reason, ...exit, detail: how },
      afterTry(session, next, how),
      (grant) => {
        if (!stopping) registry.crashed(grant, session.agent, blames && !isOnce, how)
      },
    )
    if (blames && !isOnce) tellBlamed(session, how)
  }

  const losses: Losses = {
    isLive,
    observe,
    startFailed(session, error) {
      log.error({ session: session.id, code: error.code, reason: error.reason }, 'a session did not start')
      if (error.code === 'profile_mismatch') parts.runtimeGate.doubt()
      if (!isLive(session.id)) return
      // The engine's answer was lost, but its program has begun. So this is no failed start but interrupted work.
      if (tasks.session(session.id)?.publicKey !== null) return losses.interrupted(session.id, error.message)
      const next = decideAfterStartFailure(error, {
        attempts: tasks.task(session.task)?.attempts ?? 0,
        refusals: tasks.startsRefused(session.task),
        nowMs: clock.wallMs(),
      })
      const detail = `${error.code}: ${error.message}`
      lose(session.id, { reason: 'failed', exitCode: null, oomKilled: false, detail, code: error.code }, next)
    },
    ended(id, exit) {
      const why = told.get(id)
      const how = exit.oomKilled ? 'out of memory' : `exit code ${exit.exitCode}`
      fell(id, why === undefined || exit.oomKilled ? 'crashed' : 'unhealthy', exit, why ?? how)
    },
    ending: (id, detail) => void told.set(id, detail),
    unhealthy(id, detail) {
      log.warn({ session: id, detail }, 'a session shows no life and is recycled')
      fell(id, 'unhealthy', { exitCode: null, oomKilled: false }, detail)
    },
    reported(id, detail) {
      log.warn({ session: id, detail }, 'a session was reported and is recycled')
      fell(id, 'unhealthy', { exitCode: null, oomKilled: false }, detail)
    },
    interrupted(id, detail) {
      const session = tasks.session(id)
      if (session === undefined || !isLive(id)) return
      const repeatable = cards.of(session)?.card.repeatable ?? false
      const next = decideAfterInterruption({
        repeatable,
        started: hasStarted(session),
        stopping: modes.has('draining') || tasks.task(session.task)?.held === true,
        nowMs: clock.wallMs(),
      })
      lose(id, { reason: 'orphan', exitCode: null, oomKilled: false, detail }, afterTry(session, next, detail))
    },
    stopped(grant, session, detail) {
      const { id, task } = session
      const card = cards.of(session)?.card
      const row = tasks.task(task)
      const stopping = modes.has('draining') || row?.held === true
      const next = decideAfterStopped({
        crashes: row?.crashes ?? 0,
        restarts: card === undefined ? 0 : restartsOf(card),
        repeatable: card?.repeatable ?? false,
        stopping,
        nowMs: clock.wallMs(),
      })
      const reason = stopping ? 'shutdown' : 'orphan'
      tasks.lost(grant, id, { reason, exitCode: null, oomKilled: false, detail }, afterTry(session, next, detail))
    },
  }
  return losses
}
