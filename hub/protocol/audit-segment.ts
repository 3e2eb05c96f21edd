/**
 * A sealed month of the audit log, purely: JSON lines, first a header, then every record in order. A signed record is followed by its
 * checkpoint. Then come the decisions last named in this month, and the seal: a signature by the checkpoint key over all lines before it.
 * Kept as gzip, so that `zcat` shows it. Months follow each other: each header names the hash before its first record.
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { canonicalText } from '../base/canonical.ts'
import { type AuditRecord, GENESIS, judgeRecords } from './audit-chain.ts'
import { LINE_CHARACTERS_MAX, RECORD_FIELDS, recordLine } from './audit-export.ts'
import { type Checkpoint, checkpointDigest, judgeCheckpoint } from './checkpoint.ts'

const SEGMENT_FORMAT = 'hub-audit-segment-v1'

export interface SegmentHeader {
  format: typeof SEGMENT_FORMAT
  instance: string
  /** The month by UTC, with a number behind it where a month came twice. */
  name: string
  /** PEM, of the key that signed checkpoints and seal. The file's own claim: it proves something only if the key is known from elsewhere. */
  publicKey: string
  first: number
  /** The hash of the record before the first. */
  previous: string
  /** The digest of the last checkpoint before this month. */
  signed: string
}

export interface Seal {
  name: string
  first: number
  last: number
  head: string
  checkpoints: number
  decisions: number
  sealedAtMs: number
  /** Over every line before this one, each with its line feed. */
  sha256: string
  /** Ed25519, base64url, over `hub-audit-seal-v1 LF canonical text without signature`. */
  signature: string
}

const sealedBytes = (unsigned: Omit<Seal, 'signature'>): Buffer =>
  Buffer.from(`hub-audit-seal-v1\n${canonicalText(unsigned)}`)

export const segmentHeaderLine = (header: Omit<SegmentHeader, 'format'>): string =>
  canonicalText({ format: SEGMENT_FORMAT, ...header })
export const decisionLine = (decision: Record<string, unknown>): string => canonicalText({ decision })
export function sealLine(unsigned: Omit<Seal, 'signature'>, privateKey: KeyObject): string {
  const signature = sign(null, sealedBytes(unsigned), privateKey).toString('base64url')
  return canonicalText({ seal: { ...unsigned, signature } })
}

export interface SegmentVerdict {
  header: SegmentHeader | undefined
  /** The last record that was read and found whole, and its hash. */
  size: number
  head: string
  /** The digest of the last checkpoint, and how many there are in this file. */
  signed: string
  checkpoints: number
  /** The first fault, with the record it is at; undefined for a whole file. */
  fault: { seq: number; line: number; reason: string } | undefined
}

export interface SegmentJudge {
  /** Judges the next line; false after the first fault, when nothing more need be read. */
  take(line: string): boolean
  /** The last record that was found whole. */
  size(): number
  end(): SegmentVerdict
}

/** @param expected.publicKey PEM known from elsewhere; without it the one in the file is believed */
export function createSegmentJudge(expected: { publicKey?: string }): SegmentJudge {
  const hash = createHash('sha256')
  const walk = { size: 0, head: GENESIS }
  let header: SegmentHeader | undefined
  let key: KeyObject | undefined
  let line = 0
  let signed = { size: 0, digest: GENESIS, count: 0 }
  let decisions = 0
  let sealed = false
  let fault: SegmentVerdict['fault']

  function takeHeader(parsed: SegmentHeader, text: string): string | undefined {
    if (parsed.format !== SEGMENT_FORMAT) return `it does not begin as an ${SEGMENT_FORMAT}`
    const { format: _, ...rest } = parsed
    if (text !== segmentHeaderLine(rest) || !Number.isSafeInteger(parsed.first))
      return 'its header is not as it was written'
    if (expected.publicKey !== undefined && expected.publicKey !== parsed.publicKey)
      return 'it was signed with another key than the one it is checked with'
    key = createPublicKey(parsed.publicKey)
    header = parsed
    walk.size = parsed.first - 1
    walk.head = parsed.previous
    signed = { size: walk.size, digest: parsed.signed, count: 0 }
    return undefined
  }

  function takeRecord(record: AuditRecord, text: string): string | undefined {
    const found = judgeRecords([record], walk)
    if (found !== undefined) return `at record ${found.seq}: ${found.reason}`
    // The hash covers known fields only; without this check an extra field would be believed.
    if (text !== recordLine(record) || Object.keys(record).length !== RECORD_FIELDS)
      return `record ${record.seq} is not as it was written`
    return undefined
  }

  function takeCheckpoint(checkpoint: Checkpoint, text: string, publicKey: KeyObject): string | undefined {
    const wrong = judgeCheckpoint(checkpoint, { previous: signed.digest, publicKey })
    if (wrong !== undefined) return wrong
    if (checkpoint.size !== walk.size || checkpoint.head !== walk.head)
      return `checkpoint at ${checkpoint.size} does not follow the record it signs`
    signed = { size: checkpoint.size, digest: checkpointDigest(text), count: signed.count + 1 }
    return undefined
  }

  function takeSeal({ signature, ...seal }: Seal, publicKey: KeyObject): string | undefined {
    if (!verify(null, sealedBytes(seal), publicKey, Buffer.from(signature, 'base64url')))
      return 'its seal has a wrong signature'
    const isSame =
      seal.sha256 === hash.digest('hex') &&
      seal.name === header?.name &&
      seal.first === header.first &&
      seal.last === walk.size &&
      seal.head === walk.head &&
      seal.checkpoints === signed.count &&
      seal.decisions === decisions
    if (!isSame) return 'it is not what its seal covers'
    sealed = true
    return undefined
  }

  function judge(text: string): string | undefined {
    if (sealed) return 'something follows its seal'
    if (text.length > LINE_CHARACTERS_MAX) return `it is longer than ${LINE_CHARACTERS_MAX} characters`
    try {
      const parsed = JSON.parse(text) as object
      if (key !== undefined && 'seal' in parsed) return takeSeal(parsed.seal as Seal, key)
      hash.update(`${text}\n`)
      if (key === undefined) return takeHeader(parsed as SegmentHeader, text)
      if ('seq' in parsed) return takeRecord(parsed as AuditRecord, text)
      if (!('decision' in parsed)) return takeCheckpoint(parsed as Checkpoint, text, key)
      decisions += 1
      return undefined
    } catch (thrown) {
      return `it cannot be judged (${(thrown as Error).message})`
    }
  }

  return {
    take(text) {
      if (fault !== undefined) return false
      line += 1
      const reason = judge(text)
      if (reason !== undefined) fault = { seq: walk.size + 1, line, reason }
      return fault === undefined
    },
    size: () => walk.size,
    end() {
      if (fault === undefined && !sealed)
        fault = {
          seq: walk.size + 1,
          line,
          reason: line === 0 ? 'it is empty' : `it ends after record ${walk.size}, without its seal`,
        }
      return { header, ...walk, signed: signed.digest, checkpoints: signed.count, fault }
    },
  }
}
