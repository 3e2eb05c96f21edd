/**
 * How the containers of sessions went, for who waits for their end: a stop and a drill. Of the newest `REMOVALS_MAX` sessions alone: more than
 * can be open at once (`limits.sessions` is at most 256), and while a stop waits nothing new starts, so none it waits for is forgotten.
 */
import type { Removal } from '../sandbox/engine.ts'

/** Sessions. */
export const REMOVALS_MAX = 1024

export function createRemovals() {
  const bySession = new Map<string, Removal>()
  return {
    note(session: string, removal: Removal): void {
      bySession.delete(session)
      bySession.set(session, removal)
      const [oldest] = bySession.keys()
      if (bySession.size > REMOVALS_MAX && oldest !== undefined) bySession.delete(oldest)
    },
    of: (session: string): Removal | undefined => bySession.get(session),
  }
}
