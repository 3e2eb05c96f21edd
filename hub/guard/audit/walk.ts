/**
 * The whole audit log looked through, a page a turn, so that nothing waits for it: when a person asks, right after a start and once a night
 * (safety.md sections 3 and 8, S1-64). Tables and sealed files as one chain, and every signed head on the way, so that a cut tail is seen
 * too (X14). A month whose table is dropped while this goes on is read on in its file.
 */
import { canonicalText } from '../../base/canonical.ts'
import { type ChainFault, GENESIS } from '../../protocol/audit-chain.ts'
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
/** A head is signed every two seconds: what follows the newest one is less. What is more is looked at right after the start. */
const TAIL_PAGES = 80

/** One walk; rejects only where it is told to end, or the store fails. */
export async function walkAudit(parts: WalkParts): Promise<WalkVerdict> {
  const { home, audit, checkpoints, turn, onProgress, signal } = parts
  const walk = { size: 0, head: GENESIS }
  const signed = { digest: GENESIS, count: 0 }
  const verdict = (firstBad: ChainFault | null): WalkVerdict => ({ ...walk, checkpoints: signed.count, firstBad })

  /** A month that is in its file alone; answers a fault, or nothing. */
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

  /** Those of the records after `from`; where the table is gone meanwhile they are in the file with them. */
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
  // A head that was signed beyond the end.
  const fault = await lookAtSigned(walk.size, Number.MAX_SAFE_INTEGER)
  return verdict(fault ?? null)
}

/**
 * What a start needs to know of the log, in time that does not grow with it: the newest signed head against its record, every record since,
 * and that the files of dropped months are there. The rest is looked through right after.
 */
export function checkTail(parts: {
  audit: Pick<AuditLog, 'look' | 'head' | 'hashAt' | 'months'>
  checkpoints: Pick<Checkpoints, 'newest' | 'judge'>
  bytesOf: (name: string) => number | undefined
}): ChainFault | null {
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
