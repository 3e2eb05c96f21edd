/** What keeps the hub from taking anything away now, told by name: a stop, a store or clock that is not to be trusted, a copy under way. */
import type { Clock } from '../../base/clock.ts'
import { type ErrorCode, HubError } from '../../base/errors.ts'
import type { SteadyClock } from '../../guard/conditions/steady-clock.ts'
import type { ConditionName, Modes } from '../../guard/modes.ts'

export interface Pauses {
  /** Until the answer is called. */
  hold(what: string): () => void
  /** For what comes in pieces: until its last, or until no piece has come for a minute. */
  piece(what: string, isLast: boolean): void
  /** Throws by the name of what stands against it. `byItself`: nobody asked. */
  require(byItself: boolean): void
}

const PIECE_MS = 60_000

/** While one of these holds nobody takes anything away: it could not be recorded, or the ages are not to be believed, or a stop is on. */
const NEVER: readonly [ConditionName, ErrorCode, string][] = [
  ['draining', 'mode_draining', 'the hub is stopping; try again after `hub up`'],
  ['emergency_stop', 'mode_safe', 'an emergency stop holds; look first, then `hub resume`'],
  ['unattended_stop', 'mode_safe', 'an unattended stop holds; `hub up`, then `hub heartbeat`'],
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
  ['clock_fault', 'mode_degraded', 'the clock is wrong, and so is every age; timedatectl set-ntp true'],
]
/** While one of these holds only the operator's own word does: what happened has still to be looked at. */
const NOT_BY_ITSELF: readonly ConditionName[] = ['critical_alert', 'witness_mismatch']
const UNPROVEN =
  'nothing is pruned by itself: by its clock this hub did not run for more than a week; if the date is right, `hub heartbeat` or `hub prune` says so'

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
        throw new HubError('conflict', `nothing is pruned now: ${what} is under way; prune again when it is done`)
      const open = byItself ? NOT_BY_ITSELF.find((name) => modes.has(name)) : undefined
      if (open !== undefined) throw new HubError('conflict', `nothing is pruned by itself while ${open} holds`)
      if (byItself && steady.isUnproven()) throw new HubError('conflict', UNPROVEN)
      // The operator asked for it: they have seen the date.
      if (!byItself) steady.prove()
    },
  }
}
