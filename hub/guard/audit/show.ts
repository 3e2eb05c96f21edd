/**
 * One record in full: its decision, the records near it that name the same ids, and the signed head that it is bound to. Read a page a
 * turn, from tables and sealed files alike, so that nothing waits for it.
 */
import { createPublicKey } from 'node:crypto'
import { toHubError } from '../../base/errors.ts'
import { type AuditRecord, judgeRecords } from '../../protocol/audit-chain.ts'
import { type Checkpoint, judgeCheckpoint } from '../../protocol/checkpoint.ts'
import type { Checkpoints } from './checkpoint.ts'
import type { DecisionMarks } from './decision-marks.ts'
import { idsOf, matcherOf } from './filter.ts'
import type { AuditLog } from './log.ts'
import { readDecision, segmentPath } from './segment-file.ts'

/** How far neighbours are looked for to each side, and how many are shown. */
const NEAR_RECORDS = 4096
const NEAR_SHOWN = 10
const PAGE = 250

export interface SignedHead extends Pick<Checkpoint, 'size' | 'head' | 'wallMs'> {
  /** Why the record is not bound to this head; null: every hash from the record to the head was worked out again, and the signature holds. */
  fault: string | null
}

export interface ShownRecord {
  record: AuditRecord
  /** As it is stored, its texts parsed. Null: the record names none, or `decisionNote` says why it is not here. */
  decision: ReturnType<typeof decisionOf> | null
  decisionNote: string | null
  /** What the record names and neighbours are found by. */
  ids: string[]
  before: AuditRecord[]
  after: AuditRecord[]
  /** The records that were looked through for them. */
  searchedFrom: number
  searchedTo: number
  /** Null: younger than the newest signed head. */
  signed: SignedHead | null
}

export interface AuditShow {
  /** Undefined if there is no such record. Throws what a file that cannot be read throws. */
  show(seq: number): Promise<ShownRecord | undefined>
}

const parsed = (text: unknown): unknown => {
  try {
    return JSON.parse(String(text))
  } catch {
    return String(text)
  }
}

function decisionOf(row: Record<string, unknown>) {
  const { effect, code, reason, rule, narrow } = parsed(row.result) as Record<string, unknown>
  return {
    id: String(row.decision_id),
    atMs: Number(row.timestamp_ms),
    effect: String(effect),
    code: typeof code === 'string' ? code : null,
    reason: String(reason ?? ''),
    rule: typeof rule === 'string' ? rule : null,
    narrow: narrow ?? null,
    input: parsed(row.input),
    inputDigest: String(row.input_digest),
    erased: parsed(row.erased) as string[],
    revision: String(row.revision),
    bundleVersion: Number(row.bundle_version),
    bundles: parsed(row.bundles),
    labels: parsed(row.labels),
  }
}

export function createAuditShow(parts: {
  home: string
  audit: Pick<AuditLog, 'page' | 'search' | 'head' | 'hashAt' | 'months'>
  checkpoints: Pick<Checkpoints, 'between' | 'signer'>
  marks: Pick<DecisionMarks, 'find'>
  /** Resolves when others have had their turn. */
  turn: () => Promise<void>
}): AuditShow {
  const { home, audit, checkpoints, marks, turn } = parts
  const publicKey = createPublicKey(checkpoints.signer.publicKey)
  const recordAt = (seq: number) => audit.page(seq - 1, seq).records[0]

  async function decisionFor({
    seq,
    decisionId,
  }: AuditRecord): Promise<Pick<ShownRecord, 'decision' | 'decisionNote'>> {
    if (decisionId === null) return { decision: null, decisionNote: null }
    const row = marks.find(decisionId)
    if (row !== undefined) return { decision: decisionOf(row), decisionNote: null }
    // It is in the file of the month of the last record that named it: this record's month, or a later one.
    for (const month of audit.months.all()) {
      if (month.state !== 'dropped' || (month.last ?? 0) < seq) continue
      try {
        const { first, last } = month
        const blocks = audit.months.blocksOf(month)
        const found = readDecision(segmentPath(home, month.name), { first, last: last ?? first, blocks }, decisionId)
        if (found !== undefined) return { decision: decisionOf(found), decisionNote: null }
      } catch (thrown) {
        const reason = toHubError(thrown).reason
        return { decision: null, decisionNote: `audit/${month.name}.jsonl.gz cannot be read (${reason})` }
      }
      await turn()
    }
    return { decision: null, decisionNote: 'it is neither in the database nor in the file of a month' }
  }

  async function near(seq: number, names: string[]) {
    const { size } = audit.head()
    const [least, most] = [Math.max(1, seq - NEAR_RECORDS), Math.min(size, seq + NEAR_RECORDS)]
    if (names.length === 0) return { before: [], after: [], searchedFrom: seq, searchedTo: seq }
    const before: AuditRecord[] = []
    let from = seq
    while (from > least && before.length < NEAR_SHOWN) {
      const found = audit.search({ before: from, limit: NEAR_SHOWN - before.length, names })
      before.unshift(...found.records.filter((each) => each.seq >= least).reverse())
      from = Math.max(least, found.searchedTo)
      await turn()
    }
    const matches = matcherOf({ names })
    const after: AuditRecord[] = []
    let to = seq
    while (to < most && after.length < NEAR_SHOWN) {
      const { records } = audit.page(to, Math.min(most, to + PAGE))
      if (records.length === 0) break
      for (const each of records) {
        to = each.seq
        if (matches(each)) after.push(each)
        if (after.length === NEAR_SHOWN) break
      }
      await turn()
    }
    return { before, after, searchedFrom: from, searchedTo: to }
  }

  /** The first head that was signed over the record. Those of a dropped month are in its file. */
  async function signedOver(seq: number): Promise<Checkpoint | undefined> {
    for (let at = seq - 1; audit.months.holding(at + 1).state === 'dropped'; await turn()) {
      const page = audit.page(at, Number.MAX_SAFE_INTEGER)
      if (page.checkpoints?.[0] !== undefined) return JSON.parse(page.checkpoints[0]) as Checkpoint
      const last = page.records.at(-1)?.seq
      if (last === undefined) break
      at = last
    }
    const [text] = checkpoints.between(seq - 1, Number.MAX_SAFE_INTEGER, 1)
    return text === undefined ? undefined : (JSON.parse(text) as Checkpoint)
  }

  /** At most as many records lie between a record and its signed head as are signed at once (log.ts). */
  async function boundTo(seq: number, signed: Checkpoint): Promise<string | null> {
    const wrong = judgeCheckpoint(signed, { previous: signed.previous, publicKey })
    if (wrong !== undefined) return wrong
    const walk = { size: seq - 1, head: recordAt(seq)?.previous ?? '' }
    while (walk.size < signed.size) {
      const { records } = audit.page(walk.size, signed.size)
      if (records.length === 0) return `record ${walk.size + 1} is missing`
      const fault = judgeRecords(records, walk)
      if (fault !== undefined) return `record ${fault.seq}: ${fault.reason}`
      await turn()
    }
    return walk.head === signed.head ? null : `record ${signed.size} is not the one that was signed`
  }

  return {
    async show(seq) {
      const record = recordAt(seq)
      if (record === undefined) return undefined
      const ids = idsOf(record)
      const signed = await signedOver(seq)
      return {
        record,
        ...(await decisionFor(record)),
        ids,
        ...(await near(seq, ids)),
        signed:
          signed === undefined
            ? null
            : {
                ...{ size: signed.size, head: signed.head, wallMs: signed.wallMs },
                fault: await boundTo(seq, signed),
              },
      }
    },
  }
}
