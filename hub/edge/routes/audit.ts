/** Reading, verifying and exporting the audit log. */
import type { Checkpoints } from '../../guard/audit/checkpoint.ts'
import type { AuditLog } from '../../guard/audit/log.ts'
import { GENESIS } from '../../protocol/audit-chain.ts'
import type { Store } from '../../store/database.ts'
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
  store: Store
  /** Hears what each look at the whole log found. */
  onVerdict?: (firstBad: { seq: number; reason: string } | null) => void
  /** Hears of each page of an export that was handed out. */
  onExported?: (isLast: boolean) => void
}): Handlers {
  const { audit, checkpoints, store, onVerdict, onExported } = parts
  const hashAt = (seq: number) =>
    store.prepare('select hash from audit_record where seq = ?').pluck().get(seq) as string | undefined
  return {
    'audit.list': handler({
      effect: (_grant, { limit, cursor, action, outcome }: Query) => {
        const before = cursor === undefined ? {} : { before: Number(cursor) }
        const records = audit.list({ limit, ...before, ...(action && { action }), ...(outcome && { outcome }) })
        const last = records[records.length - 1]
        return { records, next: records.length < limit || last === undefined ? null : String(last.seq) }
      },
    }),
    'audit.export': handler({
      // Up to the newest signed head, so that everything exported is covered; what came after it follows with the next one.
      effect: (_grant, { after, upTo }: { after: number; upTo?: number }) => {
        const newest = checkpoints.newest()
        const size = Math.min(upTo ?? Number.MAX_SAFE_INTEGER, newest?.size ?? 0)
        const records = audit.page(after, size)
        const last = records.at(-1)?.seq ?? size
        onExported?.(last >= size)
        return {
          ...checkpoints.signer,
          size,
          head: hashAt(size) ?? GENESIS,
          records,
          checkpoints: checkpoints.between(after, last),
          next: last < size ? last : null,
        }
      },
    }),
    'audit.verify': handler({
      effect: () => {
        const { size, head, fault } = audit.verify()
        const broken = fault === undefined ? checkpoints.verify(hashAt) : undefined
        const firstBad = fault ?? (broken === undefined ? null : { seq: size, reason: broken })
        return { ok: firstBad === null, size, head, firstBad, checkpoints: checkpoints.count(), witness: null }
      },
      after: (verdict) => {
        onVerdict?.(verdict.firstBad)
        return verdict
      },
    }),
  }
}
