/** Reading, verifying and exporting the audit log. */
import type { Checkpoints } from '../../guard/audit/checkpoint.ts'
import type { AuditLog } from '../../guard/audit/log.ts'
import type { AuditVerifier } from '../../guard/audit/verifier.ts'
import { GENESIS } from '../../protocol/audit-chain.ts'
import { type Handlers, handler } from '../serve.ts'

interface Query {
  limit: number
  cursor?: string
  action?: string
  outcome?: string
}

export function auditHandlers(parts: {
  audit: AuditLog
  checkpoints: Checkpoints
  verifier: AuditVerifier
  /** Hears of each head that is shown. */
  onShown: (head: string) => void
  /** Hears of each page of an export that was handed out. */
  onExported?: (isLast: boolean) => void
}): Handlers {
  const { audit, checkpoints, verifier, onShown, onExported } = parts
  return {
    'audit.list': handler({
      // As far as one look back reaches. With a filter the page may be short or empty although there is more.
      effect: (_grant, { limit, cursor, action, outcome }: Query) => {
        const before = cursor === undefined ? {} : { before: Number(cursor) }
        const { records, searchedTo } = audit.search({
          ...{ limit, ...before },
          ...(action && { action }),
          ...(outcome && { outcome }),
        })
        const searchedToMs = audit.atMsOf(searchedTo) ?? null
        return { records, next: searchedTo > 1 ? String(searchedTo) : null, searchedTo, searchedToMs }
      },
    }),
    'audit.export': handler({
      // Up to the newest signed head, so that everything exported is covered. Later records follow with the next one.
      effect: (_grant, { after, upTo }: { after: number; upTo?: number }) => {
        const newest = checkpoints.newest()
        const size = Math.min(upTo ?? Number.MAX_SAFE_INTEGER, newest?.size ?? 0)
        const page = audit.page(after, size)
        const last = page.records.at(-1)?.seq ?? size
        onExported?.(last >= size)
        return {
          ...checkpoints.signer,
          size,
          head: audit.hashAt(size) ?? GENESIS,
          records: page.records,
          checkpoints: page.checkpoints ?? checkpoints.between(after, last),
          next: last < size ? last : null,
        }
      },
    }),
    'audit.verify': handler({
      effect: () => undefined,
      // Outside of any transaction, in turns. With `waitMs` it answers how far it is, and goes on.
      after: async (_nothing, { waitMs }: { waitMs?: number }) => {
        const found = waitMs === undefined ? await verifier.verify() : await verifier.verifyWithin(waitMs)
        if (!('firstBad' in found)) return { ok: null, running: found }
        onShown(found.head)
        return { ok: found.firstBad === null && (!found.witness.asked || found.witness.reason === null), ...found }
      },
    }),
  }
}
