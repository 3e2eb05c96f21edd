/** Rare questions to the audit log. Each looks back a page a turn, in tables and sealed files alike. */

import type { AuditRecord } from '../../protocol/audit-chain.ts'
import type { AuditFilter } from './filter.ts'
import type { AuditLog } from './log.ts'

export interface AuditSearch {
  /** The newest records by and about a session that were made between these instants, oldest first; to the newest one without `untilMs`. */
  ofSession(session: string, during: During & { action?: string }, limit: number): Promise<AuditRecord[]>
  /** Sessions of agents that fetched any of these artifacts, the first of which came then, each with what it fetched. */
  fetchersOf(digests: readonly string[], sinceMs: number): Promise<{ session: string; digests: string[] }[]>
}

/** Epoch ms. */
interface During {
  sinceMs: number
  untilMs?: number
}

const FETCHES_MAX = 10_000
const PAGE = 500
/** The wall clock may have been set back by this much meanwhile. */
const DAY_MS = 86_400_000

export function createAuditSearch(
  audit: Pick<AuditLog, 'search' | 'atMsOf' | 'head'>,
  turn: () => Promise<void>,
): AuditSearch {
  /** The first record that is younger than this; the one after the newest if none is. A record a turn is read, and few of all. */
  async function firstAfter(ms: number): Promise<number> {
    let [low, high] = [1, audit.head().size + 1]
    for (; low < high; await turn()) {
      const middle = Math.floor((low + high) / 2)
      if ((audit.atMsOf(middle) ?? 0) > ms) high = middle
      else low = middle + 1
    }
    return low
  }

  /** Newest first. */
  async function back(filter: AuditFilter, { sinceMs, untilMs }: During, limit: number): Promise<AuditRecord[]> {
    const records: AuditRecord[] = []
    let before = untilMs === undefined ? undefined : await firstAfter(untilMs + DAY_MS)
    for (; before === undefined || before > 1; await turn()) {
      const wanted = Math.min(PAGE, limit - records.length)
      if (wanted <= 0) break
      const found = audit.search({ limit: wanted, ...filter, ...(before === undefined ? {} : { before }) })
      records.push(...found.records)
      before = found.searchedTo
      if ((audit.atMsOf(before) ?? 0) < sinceMs - DAY_MS) break
    }
    return records
  }

  return {
    ofSession: async (session, { action, ...during }, limit) =>
      (await back({ session, ...(action === undefined ? {} : { action }) }, during, limit)).reverse(),
    async fetchersOf(digests, sinceMs) {
      const wanted = new Set(digests)
      const bySession = new Map<string, Set<string>>()
      if (wanted.size === 0) return []
      for (const { principal, resource } of await back(
        { action: 'artifact.fetched', outcome: 'ok' },
        { sinceMs },
        FETCHES_MAX,
      )) {
        const [digest, session] = [resource.replace('artifact:', ''), principal.split('/').pop() ?? '']
        if (!principal.startsWith('agent:') || !wanted.has(digest)) continue
        bySession.set(session, (bySession.get(session) ?? new Set()).add(digest))
      }
      return [...bySession].map(([session, found]) => ({ session, digests: [...found].sort() }))
    },
  }
}
