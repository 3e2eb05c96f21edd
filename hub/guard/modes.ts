/**
 * Conditions in, mode out (docs/safety.md 1). A mode is computed, never set: the strictest of the active conditions.
 *
 * M1. Each condition has one owner that raises and clears it; leaving one never clears another (I5).
 * M2. A sticky condition is persisted before it takes effect. If that fails it takes effect anyway (stricter wins, I5), and is persisted
 *     when the store works again. It ends only once its end is committed.
 * M3. What a mode permits is one table, by the operation's standing, used everywhere by name.
 */
import type { Clock } from '../base/clock.ts'
import { type ErrorCode, HubError } from '../base/errors.ts'
import { type Hide, hideUnknown } from '../base/redaction.ts'
import type { Standing } from '../protocol/operations.ts'
import type { Store } from '../store/database.ts'

export const MODES = ['normal', 'degraded', 'safe', 'draining'] as const
export type Mode = (typeof MODES)[number]

interface ConditionRow {
  mode: Exclude<Mode, 'normal'>
  sticky: boolean
  /** Only for the reference page. */
  raisedBy: string
  endsBy: string
}
const condition = (mode: ConditionRow['mode'], sticky: boolean, raisedBy: string, endsBy: string): ConditionRow => ({
  mode,
  sticky,
  raisedBy,
  endsBy,
})

export const CONDITIONS = {
  store_failing: condition(
    'degraded',
    false,
    'a write to the database that failed',
    'free space on the disk; after an I/O error, a working disk and `hub restart`',
  ),
  disk_low: condition(
    'degraded',
    false,
    'too little free space in the home: `disk.degradedPercent` or `disk.degradedBytes`',
    'free space on the disk of the home; `hub prune --dry-run` shows what the hub can free',
  ),
  engine_disk_low: condition(
    'degraded',
    false,
    'too little free space where the container engine keeps its data, by the same limits',
    'free space where the container engine keeps its data; see `docker system df`',
  ),
  audit_failing: condition(
    'degraded',
    false,
    'a record of the audit log that could not be written',
    'a record that can be written again; see `hub doctor`',
  ),
  policy_unavailable: condition(
    'degraded',
    false,
    'rules that do not load at the start, or answer nothing',
    'rules that load: fix them, then `hub policy reload`',
  ),
  engine_unavailable: condition(
    'degraded',
    false,
    'two checks in a row that the engine did not answer',
    'an engine that answers',
  ),
  engine_unfit: condition(
    'degraded',
    false,
    'a canary session that failed, or an engine that would not keep the settings',
    'a canary session that passes: fix what it names, then `hub doctor` tries again',
  ),
  loop_lagging: condition(
    'degraded',
    false,
    'the process stood still for longer than five seconds',
    'ten seconds without another stall',
  ),
  loop_failing: condition(
    'degraded',
    false,
    'three failures in a row of one of the loops of the hub',
    'a round of that loop that succeeds; see `logs/hub.log`',
  ),
  clock_fault: condition(
    'degraded',
    false,
    'a wall clock that was set back, or jumped ahead',
    'a correct clock (timedatectl set-ntp true), or `hub resume`, which accepts the clock as it is',
  ),
  lease_pending: condition(
    'degraded',
    false,
    'every start, until the watchdog has been heard',
    'the first lease of the watchdog',
  ),
  lease_lapsed: condition(
    'safe',
    false,
    'no lease for three intervals: the watchdog is away',
    'the next lease of the watchdog',
  ),
  // Held by the watchdog and carried in each lease; the hub persists what was last demanded (guard/operator/lease.ts).
  heartbeat_missed: condition('safe', false, 'no heartbeat from you by the deadline and its grace', '`hub heartbeat`'),
  unattended_stop: condition(
    'safe',
    false,
    'no heartbeat for so long that everything was stopped',
    '`hub up`, then `hub heartbeat`',
  ),
  // Not `operator_request`: `hub back` must not end what `hub safe-mode` began meanwhile (I5).
  away: condition('safe', false, '`hub away`', '`hub back`, or its end and `hub heartbeat`'),
  emergency_stop: condition('safe', true, 'the backup contact, or `hub shutdown --emergency`', '`hub resume`'),
  operator_request: condition('safe', true, '`hub safe-mode`', '`hub resume`'),
  critical_alert: condition('safe', true, 'a critical alert that waits for you', '`hub resume --alert ID`'),
  witness_mismatch: condition(
    'safe',
    true,
    'an audit log that is not the one the watchdog has seen',
    '`hub resume --accept-head HASH`',
  ),
  draining: condition('draining', false, '`hub shutdown`, `hub down` or `hub restart`', 'the end of the shutdown'),
} as const satisfies Record<string, ConditionRow>
export type ConditionName = keyof typeof CONDITIONS

export interface ActiveCondition {
  name: ConditionName
  mode: Mode
  sinceMs: number
  reason: string
  sticky: boolean
  endsBy: string
}

const PERMITTED: Record<Standing, readonly Mode[]> = {
  new_work: ['normal'],
  // A child's row is written and waits, as its parent does (S1-17). A refusal would end a program that did nothing wrong (fault D5).
  child_work: ['normal', 'degraded', 'safe'],
  approve: ['normal'],
  own: MODES,
  mending: MODES,
  read: MODES,
  presence: MODES,
  stop: MODES,
  record: MODES,
}

/** Whether operations of this standing are permitted in this mode. */
export const permits = (mode: Mode, standing: Standing): boolean => PERMITTED[standing].includes(mode)

const REFUSALS: Record<Exclude<Mode, 'normal'>, ErrorCode> = {
  degraded: 'mode_degraded',
  safe: 'mode_safe',
  draining: 'mode_draining',
}
export const refusalOf = (mode: Mode): ErrorCode => (mode === 'normal' ? 'internal' : REFUSALS[mode])

/** The strictest mode of the conditions. */
export const judgeMode = (names: Iterable<ConditionName>): Mode =>
  MODES[Math.max(0, ...[...names].map((name) => MODES.indexOf(CONDITIONS[name].mode)))] ?? 'draining'

export interface Modes {
  current(): Mode
  /** The mode as it would be without this condition. */
  without(name: ConditionName): Mode
  active(): ActiveCondition[]
  has(name: ConditionName): boolean
  raise(name: ConditionName, reason: string): void
  clear(name: ConditionName): void
  /** One listener hears every change of the mode from now on, after it took effect. */
  onChange(listener: ModeListener): void
}
type ModeListener = (mode: Mode, conditions: ActiveCondition[]) => void

/** Sticky conditions are read back from the store. */
export function createModes(parts: { store: Store; clock: Clock; hide?: Hide }): Modes {
  const { store, clock, hide = hideUnknown().text } = parts
  let tell: ModeListener = () => undefined
  const conditions = new Map<ConditionName, { sinceMs: number; reason: string }>()
  const rows = store.prepare('select name, since_ms as sinceMs, reason from condition').all() as {
    name: ConditionName
    sinceMs: number
    reason: string
  }[]
  for (const row of rows) {
    const { name, sinceMs, reason } = row
    if (Object.hasOwn(CONDITIONS, name)) conditions.set(name, { sinceMs, reason })
    // It was strict, and a damaged name does not end that (I5).
    else if (!conditions.has('operator_request'))
      conditions.set('operator_request', { sinceMs, reason: `a stored condition cannot be read: ${reason}` })
  }

  const persist = (work: () => void) => (store.inTransaction ? work() : store.transaction(work))
  /** Sticky and in effect, but not in the store. */
  const unsaved = new Set<ConditionName>()
  function save(name: ConditionName, sinceMs: number, reason: string): void {
    unsaved.delete(name)
    store.onRollback(() => unsaved.add(name))
    try {
      persist(() => void store.prepare('insert or ignore into condition values (?, ?, ?)').run(name, sinceMs, reason))
    } catch (thrown) {
      if (!(thrown instanceof HubError) || thrown.code !== 'store_unavailable') throw thrown
      unsaved.add(name)
    }
  }
  function saveAgain(): void {
    for (const name of [...unsaved]) {
      const kept = conditions.get(name)
      if (kept !== undefined) save(name, kept.sinceMs, kept.reason)
    }
  }
  const active = (): ActiveCondition[] =>
    [...conditions].map(([name, { sinceMs, reason }]) => {
      const { mode, sticky, endsBy } = CONDITIONS[name]
      return { name, sinceMs, reason, mode, sticky, endsBy }
    })
  const changing = (change: () => void) => {
    const before = judgeMode(conditions.keys())
    change()
    const after = judgeMode(conditions.keys())
    if (before !== after) tell(after, active())
  }

  return {
    current: () => judgeMode(conditions.keys()),
    without: (name) => judgeMode([...conditions.keys()].filter((each) => each !== name)),
    active,
    has: (name) => conditions.has(name),
    raise(name, given) {
      const reason = hide(given)
      const known = conditions.get(name)
      if (known !== undefined) {
        // The reason of now, not the first one (fault C12); a sticky condition keeps the reason it was saved with.
        if (!CONDITIONS[name].sticky) conditions.set(name, { ...known, reason })
        return unsaved.has(name) ? saveAgain() : undefined
      }
      const sinceMs = clock.wallMs()
      if (CONDITIONS[name].sticky) save(name, sinceMs, reason)
      changing(() => conditions.set(name, { sinceMs, reason }))
    },
    clear(name) {
      if (!conditions.has(name)) return
      if (CONDITIONS[name].sticky) persist(() => void store.prepare('delete from condition where name = ?').run(name))
      store.afterCommit(() => {
        unsaved.delete(name)
        changing(() => conditions.delete(name))
        if (!store.inTransaction) saveAgain()
      })
    },
    onChange(listener) {
      tell = listener
    },
  }
}
