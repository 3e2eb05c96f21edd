/**
 * Reads records wherever they are: in the table of their month, or in its sealed file once the table is dropped.
 *
 * R1. Every read is bounded, however long the log is: a caller that wants more asks again, with turns between.
 * R2. A page never crosses the end of a month; it is empty only if a record is missing or the log ends.
 */
import type { AuditRecord } from '../../protocol/audit-chain.ts'
import type { Store } from '../../store/database.ts'
import { type AuditFilter, conditionOf, matcherOf } from './filter.ts'
import type { AuditMonth, AuditMonths } from './months.ts'
import { BLOCK_RECORDS, readBlock, segmentPath } from './segment-file.ts'

/** What a search may look through in one go: some 5 ms. */
export const SEARCH_RECORDS = 8192

export interface Found {
  /** Newest first. */
  records: AuditRecord[]
  /** Everything from this record on was looked through; 1 when nothing is left. */
  searchedTo: number
}

export interface AuditReader {
  /** The records after `after` and up to `upTo`, in order. */
  records(after: number, upTo: number, limit: number): AuditRecord[]
  /** The same with the checkpoints in between, each as it was signed; for a month whose table is dropped both come from its file. */
  withSigned(after: number, upTo: number, limit: number): { records: AuditRecord[]; checkpoints?: string[] }
  hashAt(seq: number): string | undefined
  /** Looks back from the record before `before`. */
  search(query: { before: number; limit: number; filter: AuditFilter }): Found
}

export const COLUMNS = `seq, previous, hash, at_ms as atMs, boot_id as bootId, principal, action, resource, decision_id as decisionId,
  policy_revision as policyRevision, payload_hash as payloadHash, outcome, reason, effect`

const isRecord = (line: string) => line.includes('"seq":')

export function createAuditReader(parts: { store: Store; months: AuditMonths; home: string }): AuditReader {
  const { store, months, home } = parts
  /** The block that was read last: pages and single hashes are asked for in order. */
  let last:
    | { month: string; block: number; records: AuditRecord[]; checkpoints: { size: number; text: string }[] }
    | undefined

  /** The block of a dropped month this record is in. Throws if the file is not what was sealed. */
  function blockOf(month: AuditMonth, seq: number): NonNullable<typeof last> {
    const block = Math.floor((seq - month.first) / BLOCK_RECORDS)
    if (last?.month === month.name && last.block === block) return last
    const lines = readBlock(segmentPath(home, month.name), month.first, months.blocksOf(month), seq)
    last = {
      month: month.name,
      block,
      records: lines.filter(isRecord).map((line) => JSON.parse(line) as AuditRecord),
      checkpoints: lines
        .filter((line) => !isRecord(line))
        .map((text) => ({ text, size: (JSON.parse(text) as { size: number }).size })),
    }
    return last
  }

  function withSigned(after: number, upTo: number, limit: number) {
    const month = months.holding(after + 1)
    if (month.state === 'dropped') {
      if (after + 1 > Math.min(upTo, month.last ?? 0)) return { records: [], checkpoints: [] }
      const block = blockOf(month, after + 1)
      const records = block.records.filter(({ seq }) => seq > after && seq <= upTo).slice(0, limit)
      const to = records.at(-1)?.seq ?? after
      return {
        records,
        checkpoints: block.checkpoints.filter(({ size }) => size > after && size <= to).map(({ text }) => text),
      }
    }
    const page = store.prepare(
      `select ${COLUMNS} from ${months.tableOf(month)} where seq > ? and seq <= ? order by seq limit ?`,
    )
    return { records: page.all(after, Math.min(upTo, month.last ?? upTo), limit) as AuditRecord[] }
  }

  function searchTable(month: AuditMonth, from: number, before: number, limit: number, filter: AuditFilter) {
    const { sql, values } = conditionOf(filter)
    const rows = store.prepare(
      `select ${COLUMNS} from ${months.tableOf(month)} where seq >= ? and seq < ? ${sql} order by seq desc limit ?`,
    )
    return rows.all(from, before, ...values, limit) as AuditRecord[]
  }

  return {
    records: (after, upTo, limit) => withSigned(after, upTo, limit).records,
    withSigned,
    hashAt(seq) {
      const month = months.holding(seq)
      if (seq < 1 || (month.last !== null && seq > month.last)) return undefined
      if (month.state === 'dropped') return blockOf(month, seq).records.find((record) => record.seq === seq)?.hash
      return store
        .prepare(`select hash from ${months.tableOf(month)} where seq = ?`)
        .pluck()
        .get(seq) as string | undefined
    },
    search({ before, limit, filter }) {
      const records: AuditRecord[] = []
      const matches = matcherOf(filter)
      let left = SEARCH_RECORDS
      let at = before
      while (at > 1 && left > 0 && records.length < limit) {
        const month = months.holding(at - 1)
        const isFile = month.state === 'dropped'
        // A block of a file costs as much as the whole allowance.
        const from = isFile
          ? month.first + Math.floor((at - 1 - month.first) / BLOCK_RECORDS) * BLOCK_RECORDS
          : Math.max(month.first, at - left)
        const wanted = limit - records.length
        const found = isFile
          ? blockOf(month, from)
              .records.filter((record) => record.seq < at && matches(record))
              .reverse()
              .slice(0, wanted)
          : searchTable(month, from, at, wanted, filter)
        records.push(...found)
        left -= isFile ? SEARCH_RECORDS : at - from
        at = found.length === wanted ? (found.at(-1)?.seq ?? from) : from
      }
      return { records, searchedTo: Math.max(1, at) }
    },
  }
}
