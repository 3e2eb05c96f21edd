/** What keeps the hub from deleting anything now, by name: a stop, a store or clock that cannot be trusted, a copy under way. */
import type { Clock } from '../../base/clock.ts'
import { type ErrorCode, HubError } from '../../base/errors.ts'
import type { SteadyClock } from '../../guard/conditions/steady-clock.ts'
import type { ConditionName, Modes } from '../../guard/modes.ts'

export interface Pauses {
  /** Lasts until the answer is called. */
  hold(what: string): () => void
  /** For what comes in pieces: lasts until the last one, or until no piece has come for a minute. */
  piece(what: string, isLast: boolean): void
  /** Throws with the name of what stands against it. `byItself`: nobody asked for it. */
  require(byItself: boolean): void
}

const PIECE_MS = 60_000

/** While one of these holds, nobody may delete anything: it could not be recorded, the ages cannot be believed, or a stop is on. */
const NEVER: readonly [ConditionName, ErrorCode, string][] = [
  ['draining', 'mode_draining', 'the hub is stopping; try again after `hub up`'],
  ['emergency_stop', 'mode_safe', 'an emergency stop is in force; look at the reason first, then `hub resume`'],
  ['unattended_stop', 'mode_safe', 'an unattended stop is in force; `hub up`, then `hub heartbeat`'],
  [
    'store_failing',
    'store_unavailable',
    'the database cannot be written, so nothing could be recorded; free some space by hand first (df -h HOME)',
  ],
  [
    'audit_failing',
    'audit_unavailable',
    'the audit log cannot be written, so nothing could be recorded; see `hub doctor`',
  ],
  ['clock_fault', 'mode_degraded', 'the clock is wrong, so every age is wrong too; timedatectl set-ntp true'],
]
/** While one of these holds, only the operator may start it: somebody must still look at what happened. */
const NOT_BY_ITSELF: readonly ConditionName[] = ['critical_alert', 'witness_mismatch']
const UNPROVEN =
  'the hub prunes nothing by itself: by its clock it did not run for more than a week. If the date is right, confirm that with `hub heartbeat` or `hub prune`'

export function createPauses(parts: {
  modes: Pick<Modes, 'has'>
  clock: Pick<Clock, 'monotonicMs'>
  steady: Pick<SteadyClock, 'isUnproven' | 'prove'>
}): Pauses {
  const { modes, clock, steady } = parts
  const held = new Map<symbol, string>()
  const pieces = new Map<string, number>()

  function copying(): string | undefined {
    const [first] = held.values()
    if (first !== undefined) return first
    for (const [what, atMs] of pieces) if (clock.monotonicMs() - atMs < PIECE_MS) return what
    return undefined
  }

  return {
    hold(what) {
      const id = Symbol(what)
      held.set(id, what)
      return () => void held.delete(id)
    },
    piece(what, isLast) {
      if (isLast) pieces.delete(what)
      else pieces.set(what, clock.monotonicMs())
    },
    require(byItself) {
      for (const [name, code, why] of NEVER)
        if (modes.has(name))
          throw new HubError(code, `nothing is pruned now: ${why}`, { facts: { conditions: [name] } })
      const what = copying()
      if (what !== undefined)
        throw new HubError('conflict', `nothing is pruned now: ${what} is under way; try again when it is done`)
      const open = byItself ? NOT_BY_ITSELF.find((name) => modes.has(name)) : undefined
      if (open !== undefined) throw new HubError('conflict', `the hub prunes nothing by itself while ${open} is open`)
      if (byItself && steady.isUnproven()) throw new HubError('conflict', UNPROVEN)
      // The operator asked for it, so they have seen the date.
      if (!byItself) steady.prove()
    },
  }
}
