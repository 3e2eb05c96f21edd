/** The last 4 096 message ids of each sender with their outcome: a repeat is answered with what was answered first (protocol.md section 3). */
import type { HubError } from '../../base/errors.ts'
import type { Store } from '../../store/database.ts'

export const REMEMBERED_IDS_MAX = 4096

export type Outcome = { ok: true } | { ok: false; error: HubError }

export interface Outcomes {
  recall(session: string, id: string): Outcome | undefined
  remember(session: string, id: string, outcome: Outcome): void
  forget(session: string): void
}

/** What a transaction that did not commit would have answered is forgotten with it: its repeat is a first try again. */
export function createOutcomes(store: Pick<Store, 'onRollback'>): Outcomes {
  const bySession = new Map<string, Map<string, Outcome>>()
  return {
    recall: (session, id) => bySession.get(session)?.get(id),
    remember(session, id, outcome) {
      const known = bySession.get(session) ?? new Map<string, Outcome>()
      bySession.set(session, known.set(id, outcome))
      store.onRollback(() => known.delete(id))
      if (known.size <= REMEMBERED_IDS_MAX) return
      const [oldest] = known.keys()
      if (oldest !== undefined) known.delete(oldest)
    },
    forget: (session) => void bySession.delete(session),
  }
}
