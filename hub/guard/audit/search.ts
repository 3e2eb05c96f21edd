/** Rare questions to the audit log. Each looks back a page a turn, in tables and sealed files alike. */

import type { AuditRecord } from '../../protocol/audit-chain.ts'
import type { AuditFilter } from './filter.ts'
import type { AuditLog } from './log.ts'

export interface AuditSearch {
  /** The newest records by and about a session that began then, oldest first. */
  ofSession(session: string, sinceMs: number, limit: number): Promise<AuditRecord[]>
  /** Sessions of agents that fetched any of these artifacts, the first of which came then, each with what it fetched. */
  fetchersOf(digests: readonly string[], sinceMs: number): Promise<{ session: string; digests: string[] }[]>
}

const FETCHES_MAX = 10_000
const PAGE = 500
/** The wall clock may have been set back by this much meanwhile. */
const DAY_MS = 86_400_000

export function createAuditSearch(audit: Pick<AuditLog, 'search' | 'atMsOf'>, turn: () => Promise<void>): AuditSearch {
  /** Newest first. */
  async function back(filter: AuditFilter, sinceMs: number, limit: number): Promise<AuditRecord[]> {
    const records: AuditRecord[] = []
    for (let before: number | undefined; before === undefined || before > 1; await turn()) {
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
    ofSession: async (session, sinceMs, limit) => (await back({ session }, sinceMs, limit)).reverse(),
    async fetchersOf(digests, sinceMs) {
      const wanted = new Set(digests)
      const bySession = new Map<string, Set<string>>()
      if (wanted.size === 0) return []
      for (const { principal, resource } of await back(
        { action: 'artifact.fetched', outcome: 'ok' },
        sinceMs,
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
