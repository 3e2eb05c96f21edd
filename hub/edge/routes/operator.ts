/** The operator's presence, modes, health and stopping. */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { AuditLog } from '../../guard/audit/log.ts'
import type { Grant } from '../../guard/grant.ts'
import { type HeartbeatSource, heartbeatSourceOf } from '../../guard/identity/credentials.ts'
import type { ConditionName, Modes } from '../../guard/modes.ts'
import type { Lease } from '../../guard/operator/lease.ts'
import type { Meta } from '../../store/meta.ts'
import type { RuntimeGate } from '../../work/dispatch/runtime.ts'
import type { Shutdown } from '../../work/dispatch/shutdown.ts'
import type { Stuck } from '../../work/dispatch/stubborn.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import type { RoomView } from '../../work/retention/room.ts'
import { type Handlers, handler, stopHandler } from '../serve.ts'

export interface HealthParts {
  instance: string
  version: string
  clock: Clock
  modes: Modes
  tasks: Tasks
  audit: AuditLog
  /** Hears of each head that is shown. */
  onShown: (head: string) => void
  lease: Lease
  meta: Meta
  /** The stop that is under way. */
  stopping: Shutdown['progress']
  /** Containers that do not go. */
  stuck: () => Stuck[]
  /** What the last canary session found, and how long it took. */
  canary: RuntimeGate['view']
  /** Days since the last good drill, and whether one is due. */
  drill: () => { daysSinceGood: number | null; overdue: boolean; lastOk: boolean | null }
  /** How large the home is and how fast it grows. */
  room: () => RoomView | null
}

/** What the hub stands on, and the condition that says it is not well. */
const COMPONENTS = [
  ['store', 'store_failing'],
  ['disk', 'disk_low'],
  ['audit', 'audit_failing'],
  ['policy', 'policy_unavailable'],
  ['engine', 'engine_unavailable'],
  ['loops', 'loop_failing'],
  ['canary', 'engine_unfit'],
  ['pace', 'loop_lagging'],
  ['clock', 'clock_fault'],
] as const satisfies readonly (readonly [string, ConditionName])[]

/** What health, mode and `/healthz` show; all of it public to whoever reaches the entrance, so nothing of anyone's work. */
export function createHealth(parts: HealthParts) {
  const { instance, version, clock, modes, tasks, audit, lease, meta, stopping, canary, drill, room, stuck } = parts
  const startedAtMs = clock.monotonicMs()
  function counted() {
    const states = tasks.countByState()
    const { size, head } = audit.head()
    return {
      dispatched: Number(meta.get('dispatched_total') ?? 0),
      queued: states.queued ?? 0,
      held: tasks.countHeld(),
      running: states.running ?? 0,
      sessions: tasks.sessionsOpen().length,
      auditHead: head,
      auditSize: size,
    }
  }
  let last = counted()
  /** As they were last, where the database cannot be read: health is told in every mode (S0-10). */
  function counts(): typeof last {
    try {
      last = counted()
    } catch {}
    parts.onShown(last.auditHead)
    return last
  }
  return () => {
    const conditions = modes.active()
    return {
      mode: modes.current(),
      conditions,
      components: Object.fromEntries(COMPONENTS.map(([name, condition]) => [name, !modes.has(condition)])),
      since: conditions.reduce((oldest, { sinceMs }) => Math.min(oldest, sinceMs), clock.wallMs()),
      ...counts(),
      auditWaiting: audit.bufferState().size,
      lease: lease.state() ?? null,
      stopping: stopping() ?? null,
      stuck: stuck(),
      drill: drill(),
      room: room(),
      canary: canary(),
      instance,
      version,
      uptimeMs: Math.round(clock.monotonicMs() - startedAtMs),
    }
  }
}

/** Of the questions that wait, this many stand in the answer to a heartbeat. */
const QUESTIONS_TOLD_MAX = 20

/** What the operator has asked for, or the contact has done, ends by the operator's plain word. */
const BY_HAND = ['operator_request', 'emergency_stop'] as const

export function operatorHandlers(parts: {
  health: ReturnType<typeof createHealth>
  modes: Modes
  /** Whether this head was shown to somebody, and is one of this log. */
  isAcceptable: (head: string) => boolean
  watchdog: {
    heartbeat: (note: string | undefined, source: HeartbeatSource) => Promise<unknown>
    acceptHead: () => Promise<unknown>
    endEmergency: () => Promise<void>
  }
  /** Takes the wall clock as it is. Throws `conflict` where that could make an old token valid. */
  acceptClock: () => void
  /** A strong heartbeat: somebody sees the date. */
  proveClock: () => void
  /** Ends one critical alert and, with the last one, the safe mode it brought. */
  releaseAlert: (grant: Grant, id: string) => void
  doctor: () => Promise<unknown>
  /** Questions that wait for a person. */
  questions: () => readonly { id: string; agent: string | null; question: string }[]
}): Handlers {
  const { health, modes, isAcceptable, watchdog, acceptClock, proveClock, releaseAlert, doctor, questions } = parts
  return {
    'mode.show': handler({ effect: health }),
    'health.show': handler({ effect: health }),
    'doctor.run': handler({ effect: () => undefined, after: doctor }),
    'mode.safe': stopHandler({
      resource: () => 'hub',
      effect: (_grant, { reason }: { reason: string }) =>
        modes.raise('operator_request', reason === '' ? 'asked for by the operator' : reason),
      after: health,
    }),
    'mode.resume': handler({
      resource: ({ alert }: { alert?: string }) => (alert === undefined ? 'hub' : `alert:${alert}`),
      effect: (grant, { acceptHead, alert }: { acceptHead?: string; alert?: string }) => {
        if (alert !== undefined) releaseAlert(grant, alert)
        // A mismatch of the witness ends only by naming the head that is accepted: nobody should do that by habit. Agents at work move
        // it on while the operator types, so one that has become an earlier record of this same log is as good, if it was shown as head.
        if (acceptHead !== undefined && !isAcceptable(acceptHead))
          throw new HubError('conflict', 'that is no head of the audit log that was shown; see `hub audit verify`')
        // A word about one alert ends that one and nothing else.
        const endable = [
          ...(alert === undefined ? BY_HAND : []),
          ...(acceptHead === undefined ? [] : (['witness_mismatch'] as const)),
        ]
        const ended: ConditionName[] = endable.filter((name) => modes.has(name))
        // The clock is taken as it is only by a resume that has nothing else to end.
        if (ended.length === 0 && alert === undefined && modes.has('clock_fault')) {
          acceptClock()
          return ['clock_fault']
        }
        if (ended.length === 0 && alert === undefined) {
          const others = modes.active().map(({ name, endsBy }) => `${name} ends by ${endsBy}`)
          const why =
            others.length === 0
              ? 'the hub is normal; there is nothing to resume from'
              : `this cannot be resumed by hand: ${others.join('; ')}`
          throw new HubError('conflict', why)
        }
        for (const name of ended) modes.clear(name)
        return ended
      },
      after: async (ended, { acceptHead }) => {
        if (acceptHead !== undefined && ended.includes('witness_mismatch')) await watchdog.acceptHead()
        if (ended.includes('emergency_stop')) await watchdog.endEmergency()
        return health()
      },
    }),
    'operator.heartbeat': handler({
      resource: () => 'operator',
      effect: (_grant, { note }: { note?: string }, { principal }) => {
        const source = heartbeatSourceOf(principal)
        // What agents ask is for the operator; a device that may only say "I am here" hears nothing of it.
        const asked = principal.kind === 'operator' ? questions().slice(0, QUESTIONS_TOLD_MAX) : []
        return { note, source, asked, auditEffect: `source:${source}` }
      },
      after: async ({ note, source, asked }) => {
        const answer = (await watchdog.heartbeat(note, source)) as object
        if (source !== 'webhook') proveClock()
        const told = asked.map(({ id, agent, question }) => ({ id, agent, question }))
        return { ...answer, held: health().held, questions: told }
      },
    }),
  }
}
