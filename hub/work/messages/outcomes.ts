/** The last 4 096 message ids of each sender with their outcome: a repeat is answered with what was answered first (protocol.md section 3). */
import type { HubError } from '../../base/errors.ts'

export const REMEMBERED_IDS_MAX = 4096

export type Outcome = { ok: true } | { ok: false; error: HubError }

export interface Outcomes {
  recall(session: string, id: string): Outcome | undefined
  remember(session: string, id: string, outcome: Outcome): void
  /** Undoes `remember`: the transaction it stood for did not commit. */
  drop(session: string, id: string): void
  forget(session: string): void
}

export function createOutcomes(): Outcomes {
  const bySession = new Map<string, Map<string, Outcome>>()
  return {
    recall: (session, id) => bySession.get(session)?.get(id),
    remember(session, id, outcome) {
      const known = bySession.get(session) ?? new Map<string, Outcome>()
      bySession.set(session, known.set(id, outcome))
      if (known.size <= REMEMBERED_IDS_MAX) return
      const [oldest] = known.keys()
      if (oldest !== undefined) known.delete(oldest)
    },
    drop: (session, id) => void bySession.get(session)?.delete(id),
    forget: (session) => void bySession.delete(session),
  }
}
