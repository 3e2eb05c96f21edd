/** What the guard itself raises: modes, leases, the witness, the audit chain. Looked at by a loop, and told by whoever saw it at once. */
import type { Clock } from '../../base/clock.ts'
import type { Meta } from '../../store/meta.ts'
import { type ActiveCondition, judgeMode, type Mode, type Modes } from '../modes.ts'
import type { Alerts } from './alerts.ts'
import { calmWatch, counted, type ModeWatch, watchMode } from './mode-watch.ts'
import { spanWords } from './wording.ts'

const PENDING_MS = 300_000
const LAPSED_MS = 600_000
const REFUSED_LASTS_MS = 3_600_000
/** While the mode is not normal its alert is repeated so often (S1-19). */
export const REPEAT_MS = 86_400_000
/** Alerts that say so: the modes themselves, and what has an alert of its own instead. */
const OF_MODES: ReadonlySet<string> = new Set([
  'mode_degraded',
  'mode_safe',
  'mode_draining',
  'lease_pending',
  'lease_lapsed',
])

export interface GuardWatch {
  /** Every change of the mode, as it happens; a loop alone would miss short ones. */
  modeChanged(): void
  tick(): void
  /** A word at the watchdog's door that its key did not make, or that was not newer (T92). */
  leaseRefused(reason: string, forged: boolean): void
  /** The verdict of a look at the whole audit log. */
  chainJudged(firstBad: { seq: number; reason: string } | null): void
  /** The verdict of a look through the rows of the database: what is damaged, or undefined. */
  databaseJudged(damage: string | undefined): void
  /** Why an ended month of the audit log could not be sealed, or that none waits. */
  sealingJudged(reason: string | undefined): void
}

export function createGuardWatch(parts: {
  alerts: Alerts
  modes: Pick<Modes, 'active' | 'has'>
  clock: Clock
  steadyMs: () => number
  meta: Pick<Meta, 'get' | 'set'>
}): GuardWatch {
  const { alerts, modes, clock, steadyMs, meta } = parts
  let state: ModeWatch = openAtStart()
  const standing = new Map<string, number>()

  /** An alert of an earlier run is about the mode it was told of: the same mode again is not told again. */
  function openAtStart(): ModeWatch {
    const told = (['degraded', 'safe', 'draining'] as const).find((mode) => alerts.isOpen(causeOf(mode)))
    return { ...calmWatch(clock.monotonicMs()), told: told ?? 'normal', flapping: alerts.isOpen('mode_flapping') }
  }

  function observe(): void {
    const names = counted(modes.active().map(({ name }) => name))
    const mode = judgeMode(names)
    const before = state
    const steps = watchMode(state, mode, names, clock.monotonicMs())
    state = steps.state
    for (const what of steps.resolve) {
      if (what === 'flapping') alerts.resolve('mode_flapping', `The mode is calm again; it is ${mode}.`)
      else alerts.resolve(causeOf(before.told), `The hub is not ${before.told} any more; it is ${mode}.`)
    }
    if (steps.raise === 'mode') alerts.raise(causeOf(mode), 'warning', modeText(mode, modes.active()))
    if (steps.raise === 'flapping')
      alerts.raise(
        'mode_flapping',
        'warning',
        `The mode changed ${state.changes.length} times within an hour; it is ${mode}. Single changes are not told until it is calm.`,
      )
  }

  /** A condition that may stand for so long without a word; by a clock that stands still in suspend, so that waking is no lapse. */
  function overdue(name: 'lease_pending' | 'lease_lapsed', graceMs: number, text: string): void {
    if (!modes.has(name)) {
      standing.delete(name)
      alerts.resolve(name, 'The watchdog has spoken; its lease is in force.')
      return
    }
    const since = standing.get(name) ?? clock.monotonicMs()
    standing.set(name, since)
    if (clock.monotonicMs() - since >= graceMs) alerts.raise(name, 'warning', text)
  }

  /** When each alert was last repeated, by its id; kept, so that a hub that is restarted daily repeats it too. */
  function repeatedAt(): Record<string, number> {
    try {
      return JSON.parse(meta.get('mode_repeated') ?? '{}') as Record<string, number>
    } catch {
      return {}
    }
  }

  /** A planned absence is quiet to its end, whose instant everybody was told. */
  const isPlanned = () => modes.active().every(({ name }) => name === 'away')

  function repeatLasting(): void {
    const open = alerts.list().filter(({ cause }) => OF_MODES.has(cause))
    const nowMs = steadyMs()
    const due = (at: number | undefined, raisedAtMs: number) => nowMs - Math.max(at ?? 0, raisedAtMs) >= REPEAT_MS
    if (!open.some(({ raisedAtMs }) => nowMs - raisedAtMs >= REPEAT_MS) || isPlanned()) return
    const before = repeatedAt()
    const told = open.filter(({ id, raisedAtMs }) => due(before[id], raisedAtMs))
    if (told.length === 0) return
    const kept = open.flatMap(({ id }) => (before[id] === undefined ? [] : [[id, before[id]] as const]))
    meta.set(
      'mode_repeated',
      JSON.stringify({ ...Object.fromEntries(kept), ...Object.fromEntries(told.map(({ id }) => [id, nowMs])) }),
    )
    for (const { cause, raisedAtMs } of told)
      alerts.repeat(
        cause,
        `It has lasted for ${spanWords(nowMs - raisedAtMs)}. ${modeText(judgeMode(modes.active().map(({ name }) => name)), modes.active())}`,
      )
  }

  return {
    modeChanged: observe,
    tick() {
      observe()
      repeatLasting()
      overdue(
        'lease_pending',
        PENDING_MS,
        'The watchdog has not spoken since the hub started; nothing is started without it. Run `hub up`.',
      )
      overdue(
        'lease_lapsed',
        LAPSED_MS,
        'The watchdog has fallen silent; nothing is started without it. Run `hub up`, then `hub status`.',
      )
      if (!modes.has('emergency_stop')) alerts.resolve('contact_stop', 'The operator has resumed.')
      if (modes.has('witness_mismatch'))
        alerts.raise(
          'witness_mismatch',
          'critical',
          'The audit log is not the one the watchdog has seen: it was cut, changed or put back. See `hub audit verify`.',
        )
      else alerts.resolve('witness_mismatch', 'The operator accepted the head of the audit log.')
    },
    leaseRefused(reason, forged) {
      if (forged)
        alerts.raise(
          'lease_forged',
          'critical',
          `At the watchdog's door a word was refused that its key did not make: ${reason}. Whoever sent it can reach the sockets of this home.`,
        )
      else alerts.raise('lease_refused', 'warning', `A word of the watchdog was refused: ${reason}.`, REFUSED_LASTS_MS)
    },
    sealingJudged(reason) {
      if (reason === undefined)
        alerts.resolve('audit_unsealed', 'Every month of the audit log that has ended is sealed.')
      else
        alerts.raise(
          'audit_unsealed',
          'warning',
          `A month of the audit log could not be written to audit/: ${reason}. It stays in the database and is tried again, at first every minute, then every hour. Free some space, or see: hub audit verify.`,
        )
    },
    databaseJudged(damage) {
      if (damage === undefined) alerts.resolve('database_damaged', 'The database was looked through whole.')
      else
        alerts.raise(
          'database_damaged',
          'critical',
          `The database is damaged: ${damage}. Run hub down, copy the whole home to another disk, then: hub restore BACKUP --home NEW (RUNBOOK, Restore).`,
        )
    },
    chainJudged(firstBad) {
      if (firstBad === null) alerts.resolve('audit_chain_broken', 'The audit log was verified whole.')
      else
        alerts.raise(
          'audit_chain_broken',
          'critical',
          `The audit log is broken at record ${firstBad.seq}: ${firstBad.reason}. Keep a copy of hub.db before anything else.`,
        )
    },
  }
}

const causeOf = (mode: Mode): string => `mode_${mode}`

const modeText = (mode: Mode, conditions: readonly ActiveCondition[]): string =>
  [
    `The hub is ${mode}: ${mode === 'degraded' ? 'nothing new starts until its cause is cured' : 'nothing new starts'}.`,
    ...conditions.map(({ name, reason, endsBy }) => `${name}: ${reason}; ends by ${endsBy}.`),
  ].join('\n')
