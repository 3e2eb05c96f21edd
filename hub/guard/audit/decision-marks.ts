/**
 * Which record was the last to name each decision: with the sealed month of that record a decision goes. Owns `audit_decision`.
 *
 * K1. Worked out from the records, in order, each once, and never during an append: a message must not pay for it.
 * K2. Nothing is forgotten unless every record was looked through in the same turn.
 * K3. A decision that no record names, such as that of a plain read, goes by its age: nothing will ever ask for it.
 */
import type { Store } from '../../store/database.ts'
import { createMeta } from '../../store/meta.ts'
import type { AuditLog } from './log.ts'

export interface DecisionMarks {
  /** Looks on through the records up to `upTo`, with turns between. */
  advance(upTo: number, turn: () => Promise<void>): Promise<void>
  /** The decision of this id, as it is kept; undefined if it is in no table. */
  find(id: string): Record<string, unknown> | undefined
  /** Up to 500 decisions last named by a record of these, after the one of this id, as they are kept. */
  lastNamedIn(first: number, last: number, after: string): Record<string, unknown>[]
  /** Forgets up to 500 decisions that no record after `upTo` names; answers how many. They are in the files of their months. */
  forget(upTo: number): number
  /**
   * Looks at the next 500 decisions after this id. Answers those that were made before this instant and that no record names, and the id to
   * go on from; `last` is undefined once none is left that is old enough.
   */
  unnamed(beforeMs: number, after: string): { ids: string[]; last: string | undefined }
  /** Forgets these, in the open transaction, right after they were found: in the same turn. */
  forgetUnnamed(ids: readonly string[]): void
}

const RECORDS_A_TURN = 2000
const PAGE = 500

export function createDecisionMarks(parts: {
  store: Store
  audit: Pick<AuditLog, 'head' | 'months' | 'bufferState'>
  /** Clears the memory of decisions, which would name them again. */
  forgetMemory: () => void
}): DecisionMarks {
  const { store, audit, forgetMemory } = parts
  const meta = createMeta(store)
  const marked = () => Number(meta.get('audit_marked') ?? 0)
  const upsert = store.prepare(
    'insert into audit_decision values (?, ?) on conflict (decision_id) do update set last_seq = excluded.last_seq',
  )
  const named = store.prepare(
    `select d.* from audit_decision a join decision d on d.decision_id = a.decision_id
     where a.last_seq between ? and ? and a.decision_id > ? order by a.decision_id limit ${PAGE}`,
  )
  // The newest bundle that was ever asked has to be known: an older one is refused (T21).
  const due = store
    .prepare(
      `select decision_id from audit_decision where last_seq <= ?
         and decision_id is not (select decision_id from decision order by bundle_version desc limit 1) limit ${PAGE}`,
    )
    .pluck()

  // Ids begin with the instant they were made at.
  const nextOld = store.prepare(
    `select d.decision_id as id, d.timestamp_ms as atMs, a.decision_id is null and
       d.decision_id is not (select decision_id from decision order by bundle_version desc limit 1) as isUnnamed
     from decision d left join audit_decision a on a.decision_id = d.decision_id
     where d.decision_id > ? order by d.decision_id limit ${PAGE}`,
  )
  const remove = store.prepare('delete from decision where decision_id = ?')

  /** Whether every record there is was looked through now. */
  function isAllMarked(): boolean {
    const { size } = audit.head()
    // Records that wait for the store are not rows yet; they may name any decision.
    if (audit.bufferState().size > 0) return false
    for (let left = 4; marked() < size && left > 0; left -= 1) step(size)
    return marked() >= size
  }

  function step(upTo: number): void {
    const from = marked()
    const month = audit.months.holding(from + 1)
    const to = Math.min(upTo, from + RECORDS_A_TURN, month.last ?? upTo)
    store.transaction(() => {
      if (month.state !== 'dropped') {
        const rows = store
          .prepare(
            `select decision_id as id, max(seq) as seq from ${audit.months.tableOf(month)}
             where seq > ? and seq <= ? and decision_id is not null group by decision_id`,
          )
          .all(from, to) as { id: string; seq: number }[]
        for (const { id, seq } of rows) upsert.run(id, seq)
      }
      meta.set('audit_marked', String(to))
    })
  }

  const one = store.prepare('select * from decision where decision_id = ?')

  return {
    find: (id) => one.get(id) as Record<string, unknown> | undefined,
    async advance(upTo, turn) {
      while (marked() < upTo) {
        step(upTo)
        await turn()
      }
    },
    lastNamedIn: (first, last, after) => named.all(first, last, after) as Record<string, unknown>[],
    forget(upTo) {
      if (!isAllMarked()) return 0
      const ids = due.all(upTo) as string[]
      if (ids.length === 0) return 0
      store.transaction(() => {
        for (const id of ids) {
          remove.run(id)
          store.prepare('delete from audit_decision where decision_id = ?').run(id)
        }
      })
      forgetMemory()
      return ids.length
    },
    unnamed(beforeMs, after) {
      if (!isAllMarked()) return { ids: [], last: undefined }
      const page = nextOld.all(after) as { id: string; atMs: number; isUnnamed: number }[]
      const old = page.filter(({ atMs }) => atMs < beforeMs)
      const ids = old.filter(({ isUnnamed }) => isUnnamed === 1).map(({ id }) => id)
      return { ids, last: old.length === 0 ? undefined : page.at(-1)?.id }
    },
    forgetUnnamed(ids) {
      for (const id of ids) remove.run(id)
      store.afterCommit(forgetMemory)
    },
  }
}
