/** The operator's presence, modes, health and stopping. */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { AuditLog } from '../../guard/audit/log.ts'
import type { ForwardState } from '../../guard/forward/forwarder.ts'
import type { Grant } from '../../guard/grant.ts'
import { type HeartbeatSource, heartbeatSourceOf } from '../../guard/identity/credentials.ts'
import type { ConditionName, Modes } from '../../guard/modes.ts'
import type { Lease } from '../../guard/operator/lease.ts'
import { askedWords } from '../../protocol/asked-words.ts'
import type { Meta } from '../../store/meta.ts'
import type { Stuck } from '../../work/dispatch/reaper.ts'
import type { RuntimeGate } from '../../work/dispatch/runtime.ts'
import type { Shutdown } from '../../work/dispatch/shutdown.ts'
import type { Tasks } from '../../work/dispatch/tasks.ts'
import type { HomeSize } from '../../work/retention/home-size.ts'
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
  /** Where the audit log is sent as well, and how far each is. */
  forwarding: () => readonly ForwardState[]
  /** Containers that do not go. */
  stuck: () => Stuck[]
  /** What the last canary session found, and how long it took. */
  canary: RuntimeGate['view']
  /** Days since the last good drill, and whether one is due. */
  drill: () => { daysSinceGood: number | null; overdue: boolean; lastOk: boolean | null }
  /** How large the home is and how fast it grows. */
  homeSize: () => HomeSize | null
}

/** Each part that the hub depends on, and the condition that says it is not well. */
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

export type Health = ReturnType<typeof createHealth>

/** What health, mode and `/healthz` show. All of it is public to whoever reaches the entrance, so it shows nobody's work. */
export function createHealth(parts: HealthParts) {
  const { instance, version, clock, modes, tasks, audit, lease, meta, stopping, canary, drill, homeSize, stuck } = parts
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
  /** The last known values if the database cannot be read: health is told in every mode (S0-10). */
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
      // Why a try failed names addresses and paths; that is in the alert.
      forwarding: parts.forwarding().map(({ fault, ...state }) => ({ ...state, isFailing: fault !== null })),
      lease: lease.state() ?? null,
      stopping: stopping() ?? null,
      stuck: stuck(),
      drill: drill(),
      room: homeSize(),
      canary: canary(),
      instance,
      version,
      uptimeMs: Math.round(clock.monotonicMs() - startedAtMs),
    }
  }
}

/** How many of the open questions the answer to a heartbeat holds. */
const QUESTIONS_TOLD_MAX = 20

/** Conditions that the operator asked for, or the contact caused: the operator ends them by a plain resume. */
const BY_HAND = ['operator_request', 'emergency_stop'] as const

export function operatorHandlers(parts: {
  health: ReturnType<typeof createHealth>
  modes: Modes
  /** Whether this head was shown to somebody and belongs to this log. */
  isAcceptable: (head: string) => boolean
  watchdog: {
    heartbeat: (note: string | undefined, source: HeartbeatSource) => Promise<unknown>
    acceptHead: () => Promise<unknown>
    endEmergency: () => Promise<void>
  }
  /** Accepts the wall clock as it is. Throws `conflict` if that could make an old token valid. */
  acceptClock: () => void
  /** A strong heartbeat: somebody sees the date. */
  proveClock: () => void
  /** Ends one critical alert and, with the last one, the safe mode that it caused. */
  releaseAlert: (grant: Grant, id: string) => void
  doctor: () => Promise<unknown>
  /** Questions that wait for a person. */
  questions: () => readonly (Parameters<typeof askedWords>[0] & { id: string })[]
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
        // A witness mismatch ends only if the operator names the accepted head, so nobody ends it by habit. Agents at work move the head
        // while the operator types. So an earlier record of this same log will do, if it was shown as head.
        if (acceptHead !== undefined && !isAcceptable(acceptHead))
          throw new HubError('conflict', 'no such head of the audit log was shown; see `hub audit verify`')
        // A resume of one alert ends that alert and nothing else.
        const endable = [
          ...(alert === undefined ? BY_HAND : []),
          ...(acceptHead === undefined ? [] : (['witness_mismatch'] as const)),
        ]
        const ended: ConditionName[] = endable.filter((name) => modes.has(name))
        // A resume accepts the clock as it is only if there is nothing else to end.
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
        // What waits for a person is for the operator. A device that may only say "I am here" gets none of them.
        const asked = principal.kind === 'operator' ? questions().slice(0, QUESTIONS_TOLD_MAX) : []
        return { note, source, asked, auditEffect: `source:${source}` }
      },
      after: async ({ note, source, asked }) => {
        const answer = (await watchdog.heartbeat(note, source)) as object
        if (source !== 'webhook') proveClock()
        const told = asked.map((one) => {
          const { who, what } = askedWords(one)
          return { id: one.id, agent: who, question: what }
        })
        return { ...answer, held: health().held, questions: told }
      },
    }),
  }
}
