/**
 * How the containers of sessions went, for who waits for their end: a stop and a drill. Of the newest `REMOVALS_MAX` sessions alone: more than
 * can be open at once (`limits.sessions` is at most 256), and while a stop waits nothing new starts, so none it waits for is forgotten.
 */
import type { Removal } from '../sandbox/engine.ts'

/** A host that denies a stop denies it again (fault A10); once and twice may be a moment of its engine. */
const DENIED_TRIES = 3

/** Sessions. */
export const REMOVALS_MAX = 1024

export function createRemovals() {
  const bySession = new Map<string, { removal: Removal; denied: number }>()
  return {
    note(session: string, removal: Removal): void {
      const isDenied = removal.outcome === 'failed' && removal.isRefused === true
      const denied = isDenied ? (bySession.get(session)?.denied ?? 0) + 1 : 0
      bySession.delete(session)
      bySession.set(session, { removal, denied })
      const [oldest] = bySession.keys()
      if (bySession.size > REMOVALS_MAX && oldest !== undefined) bySession.delete(oldest)
    },
    of: (session: string): Removal | undefined => bySession.get(session)?.removal,
    /** Stop, kill and removal were each refused at once, three times in a row: another try says nothing new. */
    isBarred: (session: string): boolean => (bySession.get(session)?.denied ?? 0) >= DENIED_TRIES,
  }
}
