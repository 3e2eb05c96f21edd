/** Questions to the audit log that are asked seldom: each reads all of it once. */

import type { AuditRecord } from '../../protocol/audit-chain.ts'
import type { Store } from '../../store/database.ts'

export interface AuditSearch {
  /** The newest records by and about a session, oldest first. */
  ofSession(session: string, limit: number): AuditRecord[]
  /** Sessions of agents that fetched any of these artifacts, each with what it fetched. */
  fetchersOf(digests: readonly string[]): { session: string; digests: string[] }[]
}

const FETCHES_MAX = 10_000

export function createAuditSearch(store: Store): AuditSearch {
  return {
    ofSession: (session, limit) =>
      (
        store
          .prepare(
            `select seq, previous, hash, at_ms as atMs, boot_id as bootId, principal, action, resource, decision_id as decisionId,
               policy_revision as policyRevision, payload_hash as payloadHash, outcome, reason, effect from audit_record
             where resource = ? or principal like ? order by seq desc limit ?`,
          )
          .all(`session:${session}`, `agent:%/${session}%`, limit) as AuditRecord[]
      ).reverse(),
    fetchersOf(digests) {
      const wanted = new Set(digests)
      const bySession = new Map<string, Set<string>>()
      const rows = store
        .prepare(
          `select principal, resource from audit_record where action = 'artifact.fetched' and outcome = 'ok'
             and principal like 'agent:%' order by seq desc limit ?`,
        )
        .all(FETCHES_MAX) as { principal: string; resource: string }[]
      for (const { principal, resource } of rows) {
        const [digest, session] = [resource.replace('artifact:', ''), principal.split('/').pop() ?? '']
        if (!wanted.has(digest)) continue
        bySession.set(session, (bySession.get(session) ?? new Set()).add(digest))
      }
      return [...bySession].map(([session, found]) => ({ session, digests: [...found].sort() }))
    },
  }
}
