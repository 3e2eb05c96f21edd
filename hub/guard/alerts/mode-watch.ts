/**
 * When a change of the mode becomes an alert (docs/safety.md 1, S1-19). Pure.
 *
 * M1. Entering any mode but normal is told once, leaving it once; a mode has to last for `HOLD_MS` before it is told.
 * M2. More than `CHANGES_MAX` changes within an hour become one alert, and single ones are not told until it is calm again.
 * M3. Conditions that have their own alert, after their own delay, do not count here (waiting for a lease, a lapsed lease).
 */
import type { ConditionName, Mode } from '../modes.ts'

const HOLD_MS = 60_000
const CHANGES_MAX = 3
const HOUR_MS = 3_600_000

/** Told by themselves, later. */
const OWN_ALERT: ReadonlySet<ConditionName> = new Set(['lease_pending', 'lease_lapsed'])
/** What the operator does by hand does not count as flapping, however often it happens. */
const BY_HAND: ReadonlySet<ConditionName> = new Set(['operator_request', 'draining'])

export interface ModeWatch {
  readonly mode: Mode
  /** Monotonic. */
  readonly sinceMs: number
  readonly byHand: boolean
  /** The mode that was last told; normal when nothing is open. */
  readonly told: Mode
  /** Monotonic instants of changes within the last hour. */
  readonly changes: readonly number[]
  readonly flapping: boolean
}
export interface ModeSteps {
  state: ModeWatch
  raise?: 'mode' | 'flapping'
  resolve: readonly ('mode' | 'flapping')[]
}

export const calmWatch = (nowMs: number): ModeWatch => ({
  mode: 'normal',
  sinceMs: nowMs,
  byHand: false,
  told: 'normal',
  changes: [],
  flapping: false,
})

/** Of these conditions, the ones that count here. */
export const counted = (names: readonly ConditionName[]): ConditionName[] =>
  names.filter((name) => !OWN_ALERT.has(name))

/** `names`: the conditions that count; `mode`: the strictest of them. */
export function watchMode(state: ModeWatch, mode: Mode, names: readonly ConditionName[], nowMs: number): ModeSteps {
  const byHand = names.length > 0 && names.every((name) => BY_HAND.has(name))
  const changed = mode !== state.mode
  // A change back to normal is by hand if what it ends was.
  const counts = changed && !(mode === 'normal' ? state.byHand : byHand)
  const recent = state.changes.filter((atMs) => nowMs - atMs < HOUR_MS)
  const changes = counts ? [...recent, nowMs].slice(-2 * CHANGES_MAX - 2) : recent
  const next = { ...state, mode, byHand, changes, sinceMs: changed ? nowMs : state.sinceMs }

  if (!state.flapping && changes.length > CHANGES_MAX)
    return { state: { ...next, flapping: true }, raise: 'flapping', resolve: [] }
  const calm = state.flapping && changes.length <= CHANGES_MAX
  const now = { ...next, flapping: state.flapping && !calm }
  const ended: 'flapping'[] = calm ? ['flapping'] : []
  if (now.flapping || nowMs - next.sinceMs < HOLD_MS || mode === state.told) return { state: now, resolve: ended }
  const left: 'mode'[] = state.told === 'normal' ? [] : ['mode']
  const told = { ...now, told: mode }
  return mode === 'normal'
    ? { state: told, resolve: [...ended, ...left] }
    : { state: told, raise: 'mode', resolve: [...ended, ...left] }
}
