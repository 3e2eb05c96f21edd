/**
 * Looks through the whole audit log, a page a turn, so that nothing waits for it: when a person asks, right after a start, and once a night
 * (docs/safety.md 3 and 8, S1-64). It reads tables and sealed files as one chain, and checks every signed head on the way, so a cut tail is
 * seen too (X14). If the table of a month is dropped meanwhile, it goes on in the file.
 */
import { canonicalText } from '../../base/canonical.ts'
import { type ChainFault, GENESIS, judgeRecords } from '../../protocol/audit-chain.ts'
import type { Checkpoints } from './checkpoint.ts'
import type { AuditLog } from './log.ts'
import type { AuditMonth } from './months.ts'
import { judgeSegment, segmentPath } from './segment-file.ts'

export interface WalkVerdict {
  size: number
  head: string
  checkpoints: number
  firstBad: ChainFault | null
}

export interface WalkParts {
  home: string
  audit: Pick<AuditLog, 'look' | 'head' | 'hashAt' | 'months' | 'page'>
  checkpoints: Pick<Checkpoints, 'signer' | 'between' | 'judge'>
  /** Resolves when others have had their turn. */
  turn: () => Promise<void>
  /** Hears how far it is, now and then. */
  onProgress?: (size: number) => void
  signal?: AbortSignal
}

/** Between two turns: each costs as much as some thirty records. */
const SIGNATURES_A_TURN = 10
/** A head is signed every two seconds, so little follows the newest one. The rest is looked at right after the start. */
const TAIL_PAGES = 80
/** How many pages of the past a start looks at, each time at other places (fault F5). */
const SAMPLES = 8
const SAMPLE_RECORDS = 250

/** One walk; rejects only if it is told to end, or the store fails. */
export async function walkAudit(parts: WalkParts): Promise<WalkVerdict> {
  const { home, audit, checkpoints, turn, onProgress, signal } = parts
  const walk = { size: 0, head: GENESIS }
  const signed = { digest: GENESIS, count: 0 }
  const verdict = (firstBad: ChainFault | null): WalkVerdict => ({ ...walk, checkpoints: signed.count, firstBad })

  /** Looks at a month that is only in its file; answers a fault, or nothing. */
  async function lookAtFile(month: AuditMonth): Promise<ChainFault | undefined> {
    const at = (reason: string, seq = walk.size + 1) => ({ seq, reason: `audit/${month.name}.jsonl.gz: ${reason}` })
    const base = signed.count
    try {
      const found = await judgeSegment(
        segmentPath(home, month.name),
        { publicKey: checkpoints.signer.publicKey },
        async () => {
          signal?.throwIfAborted()
          await turn()
        },
        onProgress,
      )
      if (found.fault !== undefined) return at(found.fault.reason, found.fault.seq)
      const { header } = found
      if (header?.first !== walk.size + 1 || header.previous !== walk.head || header.signed !== signed.digest)
        return at('it does not follow the record before it')
      Object.assign(walk, { size: found.size, head: found.head })
      Object.assign(signed, { digest: found.signed, count: base + found.checkpoints })
      return undefined
    } catch (thrown) {
      signal?.throwIfAborted()
      return at(`it cannot be read (${(thrown as Error).message})`)
    }
  }

  /** Checkpoints of the records after `from`; if the table is gone meanwhile, both are in the file. */
  const signedAfter = (from: number, upTo: number): string[] =>
    (audit.months.holding(from + 1).state === 'dropped' ? audit.page(from, upTo).checkpoints : undefined) ??
    checkpoints.between(from, upTo, SIGNATURES_A_TURN)

  async function lookAtSigned(from: number, upTo: number): Promise<ChainFault | undefined> {
    for (let at = from; ; ) {
      const texts = signedAfter(at, upTo)
      for (const text of texts) {
        const found = checkpoints.judge(text, signed.digest, audit.hashAt)
        if (typeof found === 'string') return { seq: walk.size, reason: found }
        Object.assign(signed, { digest: found.digest, count: signed.count + 1 })
        at = found.size
      }
      if (texts.length < SIGNATURES_A_TURN) return undefined
      await turn()
    }
  }

  for (;;) {
    signal?.throwIfAborted()
    const month = audit.months.holding(walk.size + 1)
    if (month.state === 'dropped' && walk.size + 1 === month.first) {
      const fault = await lookAtFile(month)
      if (fault !== undefined) return verdict(fault)
      if (walk.size < audit.head().size) continue
    }
    const from = walk.size
    const found = audit.look(walk)
    if (found !== undefined && found !== 'more') return verdict(found)
    const fault = await lookAtSigned(from, walk.size)
    if (fault !== undefined) return verdict(fault)
    onProgress?.(walk.size)
    if (found === undefined) break
    await turn()
  }
  // Finds a head that was signed beyond the end.
  const fault = await lookAtSigned(walk.size, Number.MAX_SAFE_INTEGER)
  return verdict(fault ?? null)
}

/**
 * What a start needs to know of the log, in time that does not grow with it. It checks the newest signed head against its record, every
 * record since, that the files of dropped months are there, and a sample of the past with its signed heads. The rest follows right after.
 */
export function checkStart(parts: {
  audit: Pick<AuditLog, 'look' | 'head' | 'hashAt' | 'months' | 'page'>
  checkpoints: Pick<Checkpoints, 'newest' | 'judge' | 'between'>
  bytesOf: (name: string) => number | undefined
  /** Any whole number from 0 to below this. */
  pick: (below: number) => number
}): ChainFault | null {
  return checkTail(parts) ?? checkSample(parts)
}

/** One page in each eighth of the log, at a place that nobody can predict: its links, its hashes, and the heads signed over it. */
function checkSample({ audit, checkpoints, pick }: Parameters<typeof checkStart>[0]): ChainFault | null {
  const { size } = audit.head()
  const part = size / SAMPLES
  for (let nth = 0; nth < SAMPLES; nth += 1) {
    const from = Math.floor(nth * part)
    const after = from + pick(Math.max(1, Math.ceil(part) - SAMPLE_RECORDS + 1))
    if (after >= size) continue
    try {
      const page = audit.page(after, Math.min(size, after + SAMPLE_RECORDS))
      const walk = { size: after, head: after === 0 ? GENESIS : (audit.hashAt(after) ?? '') }
      const fault = judgeRecords(page.records, walk)
      if (fault !== undefined) return fault
      if (walk.size === after) return { seq: after + 1, reason: 'a record is missing' }
      const texts = page.checkpoints ?? checkpoints.between(after, walk.size, SIGNATURES_A_TURN)
      for (const text of texts.slice(0, SIGNATURES_A_TURN)) {
        const { size: at, previous } = JSON.parse(text) as { size: number; previous: string }
        const found = checkpoints.judge(text, previous, audit.hashAt)
        if (typeof found === 'string') return { seq: at, reason: found }
      }
    } catch (thrown) {
      return { seq: after + 1, reason: `it cannot be read (${(thrown as Error).message})` }
    }
  }
  return null
}

function checkTail(parts: Parameters<typeof checkStart>[0]): ChainFault | null {
  const { audit, checkpoints, bytesOf } = parts
  for (const { name, state, first, bytes } of audit.months.all()) {
    if (state !== 'dropped') continue
    const found = bytesOf(name)
    if (found !== bytes)
      return {
        seq: first,
        reason: `audit/${name}.jsonl.gz is ${found === undefined ? 'gone' : 'not the file that was sealed'}`,
      }
  }
  const newest = checkpoints.newest()
  if (newest === undefined) return null
  const found = checkpoints.judge(canonicalText(newest), newest.previous, audit.hashAt)
  if (typeof found === 'string') return { seq: newest.size, reason: found }
  const walk = { size: newest.size, head: newest.head }
  for (let page = 0; page < TAIL_PAGES; page += 1) {
    const fault = audit.look(walk)
    if (fault !== 'more') return fault ?? null
  }
  return null
}
