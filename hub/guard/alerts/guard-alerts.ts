/** The alerts of the guard itself: modes, leases, the witness, the audit chain. A loop looks for some; others are reported at once. */
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
const REPEAT_MS = 86_400_000
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
  /** A message at the watchdog's door that its key did not sign, or that was not newer (T92). */
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
      if (what === 'flapping') alerts.resolve('mode_flapping', `The mode is stable again; it is ${mode}.`)
      else alerts.resolve(causeOf(before.told), `The hub is no longer ${before.told}; it is ${mode}.`)
    }
    if (steps.raise === 'mode' && mode !== 'normal')
      alerts.raise(causeOf(mode), 'warning', modeText(mode, modes.active()))
    if (steps.raise === 'flapping')
      alerts.raise(
        'mode_flapping',
        'warning',
        `The mode changed ${state.changes.length} times within an hour; it is ${mode}. You are not told of single changes until it is stable.`,
      )
  }

  /** A condition that may last this long before it is told. The clock stands still in suspend, so waking up is no lapse. */
  function overdue(name: 'lease_pending' | 'lease_lapsed', graceMs: number, text: string): void {
    if (!modes.has(name)) {
      standing.delete(name)
      alerts.resolve(name, 'The hub hears the watchdog again; its lease is in force.')
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

  /** A planned absence is quiet until its end, and everybody was told when that is. */
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
        'The hub has not heard the watchdog since it started. Nothing new starts without it. Run `hub up`.',
      )
      overdue(
        'lease_lapsed',
        LAPSED_MS,
        'The hub no longer hears the watchdog. Nothing new starts without it. Run `hub up`, then `hub status`.',
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
          `The hub refused a message at the watchdog's door, because the watchdog's key did not sign it: ${reason}. Somebody who can reach the sockets of this home sent it.`,
        )
      else
        alerts.raise(
          'lease_refused',
          'warning',
          `The hub refused a message from the watchdog: ${reason}.`,
          REFUSED_LASTS_MS,
        )
    },
    sealingJudged(reason) {
      if (reason === undefined)
        alerts.resolve('audit_unsealed', 'Every month of the audit log that has ended is sealed.')
      else
        alerts.raise(
          'audit_unsealed',
          'warning',
          `A month of the audit log could not be written to audit/: ${reason}. It stays in the database. The hub tries again, at first every minute, later every hour. Free some space, or run: hub audit verify.`,
        )
    },
    databaseJudged(damage) {
      if (damage === undefined) alerts.resolve('database_damaged', 'The whole database was checked and is sound.')
      else
        alerts.raise(
          'database_damaged',
          'critical',
          `The database is damaged: ${damage}. Run hub down, copy the whole home to another disk, then: hub restore BACKUP --home NEW (RUNBOOK, Restore).`,
        )
    },
    chainJudged(firstBad) {
      if (firstBad === null) alerts.resolve('audit_chain_broken', 'The whole audit log was verified.')
      else
        alerts.raise(
          'audit_chain_broken',
          'critical',
          `The audit log is broken at record ${firstBad.seq}: ${firstBad.reason}. Keep a copy of hub.db before anything else.`,
        )
    },
  }
}

function causeOf<Told extends Mode>(mode: Told): `mode_${Told}` {
  return `mode_${mode}`
}

function modeText(mode: Mode, conditions: readonly ActiveCondition[]): string {
  return [
    `The hub is ${mode}: ${mode === 'degraded' ? 'nothing new starts until the cause is fixed' : 'nothing new starts'}.`,
    ...conditions.map(({ name, reason, endsBy }) => `${name}: ${reason}; ends by ${endsBy}.`),
  ].join('\n')
}
