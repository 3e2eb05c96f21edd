/** What a receiver of the audit log gets at once: some records in order, each signed one followed by its head, as an export has them. */
import type { AuditRecord } from '../../protocol/audit-chain.ts'
import { eventLines } from '../../protocol/audit-export.ts'
import type { Checkpoints } from '../audit/checkpoint.ts'
import type { AuditLog } from '../audit/log.ts'

/** A batch holds no more than this, unless one record alone does. */
const BATCH_BYTES_MAX = 1024 ** 2
export const BATCH_RECORDS_MAX = 2000

export interface Batch {
  /** Each record with its lines, without line feeds: itself, and the heads that were signed over it. */
  entries: readonly { record: AuditRecord; lines: readonly string[] }[]
  bytes: number
  /** The number of its last record. */
  last: number
}

/**
 * Takes a whole batch, or throws why it did not (`tooMuchError` of batch-size.ts where less may be taken); then the same records come again.
 * What it took before it threw comes twice.
 */
export type Sink = (batch: Batch, signal: AbortSignal) => Promise<void>

/** The records after `after`, up to `upTo` and at most `recordsMax`, read a page a turn. Rejects if they are missing or their file cannot be read. */
export async function nextBatch(
  {
    audit,
    checkpoints,
    turn,
  }: {
    audit: Pick<AuditLog, 'page'>
    checkpoints: Pick<Checkpoints, 'signer' | 'between'>
    turn: () => Promise<void>
  },
  after: number,
  upTo: number,
  recordsMax = BATCH_RECORDS_MAX,
): Promise<Batch> {
  const { instance } = checkpoints.signer
  const entries: { record: AuditRecord; lines: string[] }[] = []
  let bytes = 0
  for (let at = after; at < upTo && entries.length < recordsMax; ) {
    const page = audit.page(at, Math.min(upTo, after + recordsMax))
    const last = page.records.at(-1)?.seq
    if (last === undefined) throw new Error(`record ${at + 1} is missing`)
    const signed = page.checkpoints ?? checkpoints.between(at, last)
    const sizes = signed.map((text) => (JSON.parse(text) as { size: number }).size)
    for (const record of page.records) {
      const over = signed.filter((_, nth) => sizes[nth] === record.seq)
      const lines = [...eventLines(instance, [record], over)]
      const size = lines.reduce((sum, line) => sum + Buffer.byteLength(line) + 1, 0)
      if (entries.length > 0 && bytes + size > BATCH_BYTES_MAX) return { entries, bytes, last: at }
      bytes += size
      at = record.seq
      entries.push({ record, lines })
    }
    await turn()
  }
  return { entries, bytes, last: entries.at(-1)?.record.seq ?? after }
}
