/** Reading, verifying and exporting the audit log. */
import { HubError } from '../../base/errors.ts'
import type { Checkpoints } from '../../guard/audit/checkpoint.ts'
import type { AuditFilter } from '../../guard/audit/filter.ts'
import type { AuditLog } from '../../guard/audit/log.ts'
import type { AuditShow } from '../../guard/audit/show.ts'
import type { AuditVerifier } from '../../guard/audit/verifier.ts'
import { GENESIS } from '../../protocol/audit-chain.ts'
import type { AuditListRequest } from '../../protocol/operations.ts'
import { type Handlers, handler } from '../serve.ts'

/** The wall clock may have been set back by this much meanwhile, so the search for an instant goes on for as long. */
const DAY_MS = 86_400_000

export function auditHandlers(parts: {
  audit: AuditLog
  checkpoints: Checkpoints
  verifier: AuditVerifier
  show: AuditShow['show']
  /** The sessions that a task had, and the tasks right below it, as far as their rows are kept. */
  sessionsOf: (task: string) => readonly string[]
  childrenOf: (task: string) => readonly string[]
  /** Hears of each head that is shown. */
  onShown: (head: string) => void
  /** Hears of each page of an export that was handed out. */
  onExported?: (isLast: boolean) => void
}): Handlers {
  const { audit, checkpoints, verifier, show, sessionsOf, childrenOf, onShown, onExported } = parts
  function tasksFrom(task: string, withBelow: boolean): NonNullable<AuditFilter['tasks']> {
    const ids = [task]
    // A tree is bounded by `limits.tasksPerTree`.
    if (withBelow) for (const id of ids) ids.push(...childrenOf(id))
    return { ids, sessions: ids.flatMap(sessionsOf) }
  }

  return {
    'audit.list': handler({
      // As far as one look back reaches. With a filter the page may be short or empty although there is more.
      effect: (_grant, { limit, cursor, task, tree, ...filter }: AuditListRequest) => {
        const { records, searchedTo } = audit.search({
          limit,
          ...(cursor === undefined ? {} : { before: Number(cursor) }),
          ...(filter as AuditFilter),
          ...(task === undefined ? {} : { tasks: tasksFrom(task, tree) }),
        })
        const searchedToMs = audit.atMsOf(searchedTo) ?? null
        const isBefore = filter.fromMs !== undefined && searchedToMs !== null && searchedToMs < filter.fromMs - DAY_MS
        const next = searchedTo > 1 && !isBefore ? String(searchedTo) : null
        return { records, next, searchedTo, searchedToMs }
      },
    }),
    'audit.show': handler({
      resource: ({ seq }: { seq: number }) => `record:${seq}`,
      effect: () => undefined,
      // Outside of any transaction, in turns.
      after: async (_nothing, { seq }: { seq: number }) => {
        const found = await show(seq)
        if (found === undefined) throw new HubError('unknown_record', `the audit log has no record ${seq}`)
        return found
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
