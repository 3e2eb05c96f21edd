/**
 * The drill (docs/safety.md 5) stops a real canary session twice, once through the hub and once through the watchdog, and tries every alert
 * channel. E1 It never changes the mode. If the hub is not normal, it is skipped and says why. E2 It touches only the canary. E3 Its result
 * is kept, good or bad. It counts only if every step was good.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Gate } from '../../guard/gate.ts'
import type { Modes } from '../../guard/modes.ts'
import { hubPrincipal, type Principal } from '../../guard/principal.ts'
import type { Meta } from '../../store/meta.ts'
import { isObject, readText } from '../../store/reading.ts'
import type { Registry } from '../registry.ts'
import type { Engine } from '../sandbox/engine.ts'
import type { Asking } from './asking.ts'
import type { Reaper } from './reaper.ts'
import type { SessionRow } from './rows.ts'
import type { Tasks } from './tasks.ts'

const DAY_MS = 86_400_000
export const DRILL_DAYS = 31
export const CONTACT_DRILL_DAYS = 92

/** When a drill is due: monthly with the operator, quarterly with the contact. */
export interface DrillDue {
  /** Whole days since the last good one, or since this hub can be drilled; null: there was none yet. */
  days: number | null
  contactDays: number | null
  overdue: boolean
  contactOverdue: boolean
}

/** Pure. @param contactSinceMs since when there is a contact to drill with. Null: there is none, and no drill with one is due. */
export function judgeDrill(state: DrillState, wallMs: number, contactSinceMs: number | null): DrillDue {
  const days = (atMs: number | null) => (atMs === null ? null : Math.max(0, Math.floor((wallMs - atMs) / DAY_MS)))
  const isOver = (atMs: number | null, most: number) => (days(atMs ?? state.sinceMs) ?? 0) > most
  const theirs = contactSinceMs === null ? null : (state.contactAtMs ?? Math.max(contactSinceMs, state.sinceMs))
  return {
    days: days(state.goodAtMs),
    contactDays: days(state.contactAtMs),
    overdue: isOver(state.goodAtMs, DRILL_DAYS),
    contactOverdue: theirs !== null && isOver(theirs, CONTACT_DRILL_DAYS),
  }
}

export interface DrillStep {
  name: string
  ok: boolean
  detail: string
  ms: number
}
export interface DrillResult {
  atMs: number
  ok: boolean
  /** Why nothing was done; null if it was done. */
  skipped: string | null
  withContact: boolean
  steps: DrillStep[]
}
export interface DrillState {
  last: DrillResult | null
  /** Instants of the last good ones. */
  goodAtMs: number | null
  contactAtMs: number | null
  /** Since when drills are counted. */
  sinceMs: number
}

export interface Drill {
  run(principal: Principal, withContact: boolean): Promise<DrillResult>
  state(): DrillState
}

const CANARY = 'drill'
const STEP_MS = 60_000
const POLL_MS = 50
const DRILLER = hubPrincipal('drill')

/** What other parts do in a drill. Each answers what it found, and may reject. */
export interface DrillOuter {
  /** Has the watchdog remove the containers of this one session. */
  removeByWatchdog(session: string): Promise<{ containers: { container: string; outcome: string; reason?: string }[] }>
  /** The hub's own channels and the watchdog's. */
  testAlerts(): Promise<{ channel: string; ok: boolean; why: string }[]>
  /** A rehearsal for the contact, by day only. */
  rehearse(): Promise<{ channel: string; ok: boolean; why: string }[]>
}

export function createDrill(parts: {
  clock: Clock
  log: Log
  gate: Gate
  modes: Modes
  meta: Meta
  tasks: Tasks
  registry: Registry
  asking: Asking
  reaper: Reaper
  engine: Pick<Engine, 'inspect'>
  outer: DrillOuter
}): Drill {
  const { clock, log, gate, modes, meta, tasks, registry, asking, reaper, engine, outer } = parts
  let running: Promise<DrillResult> | undefined
  try {
    if (meta.get('drill_since_ms') === undefined) meta.set('drill_since_ms', String(clock.wallMs()))
  } catch (thrown) {
    log.warn(
      { reason: toHubError(thrown).reason },
      'could not save the start of the drill schedule; it will start later',
    )
  }

  async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = clock.monotonicMs() + STEP_MS
    while (!(await isSo())) {
      if (clock.monotonicMs() > deadline)
        throw new HubError('timed_out', `${what} took longer than ${STEP_MS / 1000} s`)
      await clock.sleep(POLL_MS)
    }
  }

  /** A canary at work, asked for by the operator through the same gate and rules as any task. */
  async function placeCanary(principal: Principal): Promise<SessionRow> {
    if (registry.find(CANARY) === undefined) {
      const mend =
        'copy the shipped images/drill/agent.yaml to agents/drill.yaml, then `hub agent reload` and `hub agent allow drill`'
      throw new HubError('unknown_agent', `there is no agent ${CANARY}: ${mend}`)
    }
    const request = { agent: CANARY, needs: [], params: {}, inputs: null, priority: 9, hold: false, ttlMs: 2 * STEP_MS }
    const call = { principal, operation: 'task.submit', resource: `agent:${CANARY}` } as const
    const facts = asking.submitFacts(principal, request)
    const { id } = gate.admit({ ...call, facts }, (grant) => asking.submit(grant, request, undefined))
    const mine = () => tasks.sessionOfTask(id)
    try {
      await until('the start of the canary', () => {
        const task = tasks.task(id)
        if (task?.error)
          throw new HubError('conflict', `the canary did not start: ${task.error.code}: ${task.error.detail}`)
        return mine()?.state === 'working'
      })
    } catch (thrown) {
      endTask(id)
      throw thrown
    }
    return mine() as SessionRow
  }

  function endTask(id: string): void {
    const task = tasks.task(id)
    if (task === undefined || (task.state !== 'queued' && task.state !== 'running')) return
    const end = { state: 'cancelled', error: { code: 'cancelled', detail: 'the drill is over' } } as const
    const call = { principal: DRILLER, operation: 'session.reap', resource: `task:${id}` } as const
    gate.admitStop(call, (grant) => tasks.stop(grant, id, end, 'operator'))
  }

  /** Gone means that the engine says so when asked again. */
  const isGone = async ({ containerId }: SessionRow) =>
    containerId !== null && (await engine.inspect(containerId)) === undefined

  async function byHub(principal: Principal): Promise<string> {
    const canary = await placeCanary(principal)
    endTask(canary.task)
    await until('its removal by the hub', () => {
      reaper.round()
      return (reaper.outcomeOf(canary.id)?.outcome ?? 'failed') !== 'failed'
    })
    if (!(await isGone(canary))) throw new HubError('conflict', `the engine still shows ${canary.containerName}`)
    return `${canary.containerName} is gone`
  }

  async function byWatchdog(principal: Principal): Promise<string> {
    const canary = await placeCanary(principal)
    try {
      // It is held while it runs, so its end counts as no crash of the agent and restarts nothing.
      gate.admitStop({ principal: DRILLER, operation: 'session.reap', resource: `task:${canary.task}` }, (grant) => ({
        auditEffect: `${tasks.holdAll(grant, canary.task)} canary is held`,
      }))
      const { containers } = await outer.removeByWatchdog(canary.id)
      const [only, ...more] = containers
      if (only === undefined || more.length > 0)
        throw new HubError(
          'conflict',
          `the watchdog removed ${containers.length} containers instead of only the canary's`,
        )
      if (only.container !== canary.containerName || only.outcome === 'failed')
        throw new HubError('conflict', `${only.container}: ${only.outcome} ${only.reason ?? ''}`.trim())
      await until('the end of the container', () => isGone(canary))
      return `${canary.containerName} is gone`
    } finally {
      endTask(canary.task)
    }
  }

  async function channels(ask: () => Promise<{ channel: string; ok: boolean; why: string }[]>): Promise<string> {
    const tested = await ask()
    const deaf = tested.filter(({ ok }) => !ok)
    if (tested.length === 0)
      throw new HubError('conflict', 'no channel is configured, so nobody would hear of an alert; run `hub setup`')
    if (deaf.length > 0) throw new HubError('conflict', deaf.map(({ channel, why }) => `${channel}: ${why}`).join('; '))
    return tested.map(({ channel }) => channel).join(', ')
  }

  async function step(name: string, work: () => Promise<string>): Promise<DrillStep> {
    const beganAt = clock.monotonicMs()
    const told = await work().then(
      (detail) => ({ ok: true, detail }),
      (thrown) => ({ ok: false, detail: toHubError(thrown).message }),
    )
    return { name, ...told, ms: Math.round(clock.monotonicMs() - beganAt) }
  }

  async function walk(principal: Principal, withContact: boolean): Promise<DrillResult> {
    const atMs = clock.wallMs()
    const mode = modes.current()
    if (mode !== 'normal') {
      const names = modes.active().map(({ name }) => name)
      return { atMs, ok: false, skipped: `the hub is ${mode}: ${names.join(', ')}`, withContact, steps: [] }
    }
    const steps = [
      await step('stopped by the hub', () => byHub(principal)),
      await step('stopped by the watchdog', () => byWatchdog(principal)),
      await step('alert channels', () => channels(outer.testAlerts)),
      ...(withContact ? [await step('channels to the contact', () => channels(outer.rehearse))] : []),
    ]
    return { atMs, ok: steps.every(({ ok }) => ok), skipped: null, withContact, steps }
  }

  function keep(result: DrillResult): void {
    meta.set('drill_last', JSON.stringify(result))
    if (result.ok) meta.set('drill_good_ms', String(result.atMs))
    if (result.ok && result.withContact) meta.set('drill_contact_ms', String(result.atMs))
  }

  const number = (key: 'drill_good_ms' | 'drill_contact_ms') => {
    const text = meta.get(key)
    return text === undefined ? null : Number(text)
  }

  return {
    run(principal, withContact) {
      running ??= walk(principal, withContact)
        .then((result) => {
          keep(result)
          log.info({ ok: result.ok, skipped: result.skipped }, 'a drill was held')
          return result
        })
        .finally(() => {
          running = undefined
        })
      return running
    },
    state() {
      const last = meta.get('drill_last')
      return {
        last: readText<DrillResult | null>(last, isObject, null),
        goodAtMs: number('drill_good_ms'),
        contactAtMs: number('drill_contact_ms'),
        sinceMs: Number(meta.get('drill_since_ms') ?? clock.wallMs()),
      }
    },
  }
}
