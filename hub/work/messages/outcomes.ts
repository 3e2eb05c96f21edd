/** The last 4 096 message ids of each sender with their outcome. A repeat gets the first answer again (docs/protocol.md 3). */
import { HubError } from '../../base/errors.ts'
import type { Store } from '../../store/database.ts'

export const REMEMBERED_IDS_MAX = 4096

export type Outcome = { ok: true } | { ok: false; error: HubError }

/** What is kept of a refusal. The thrown error itself holds its stack, its cause and all that the cause holds (fault F6). */
type Kept = { ok: true } | { ok: false; code: HubError['code']; detail: string; facts: HubError['facts'] }
const DETAIL_CHARS_MAX = 500
const ACCEPTED: Kept = { ok: true }

const kept = (outcome: Outcome): Kept => {
  if (outcome.ok) return ACCEPTED
  const { code, message, facts } = outcome.error
  return { ok: false, code, detail: message.slice(0, DETAIL_CHARS_MAX), facts }
}

export interface Outcomes {
  recall(session: string, id: string): Outcome | undefined
  remember(session: string, id: string, outcome: Outcome): void
  forget(session: string): void
}

/** If the transaction did not commit, its answer is forgotten, and a repeat is a first try again. */
export function createOutcomes(store: Pick<Store, 'onRollback'>): Outcomes {
  const bySession = new Map<string, Map<string, Kept>>()
  return {
    recall(session, id) {
      const known = bySession.get(session)?.get(id)
      if (known === undefined || known.ok) return known
      return { ok: false, error: new HubError(known.code, known.detail, { facts: known.facts }) }
    },
    remember(session, id, outcome) {
      const known = bySession.get(session) ?? new Map<string, Kept>()
      bySession.set(session, known.set(id, kept(outcome)))
      store.onRollback(() => known.delete(id))
      if (known.size <= REMEMBERED_IDS_MAX) return
      const [oldest] = known.keys()
      if (oldest !== undefined) known.delete(oldest)
    },
    forget: (session) => void bySession.delete(session),
  }
}
