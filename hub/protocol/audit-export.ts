/**
 * An export of the audit log: JSON lines, first a header, then every record in order. A signed record is followed by its checkpoint. Each
 * line after the header is a CloudEvent (specification 1.0, JSON form) whose `data` is the record or the checkpoint, as it was hashed or
 * signed. An export of an earlier version holds them bare, and is judged as well. What the hub forwards are the same lines.
 * Anyone with the file and the public key can judge it without a hub, line by line, in constant memory (docs/safety.md 8, X14).
 */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { canonicalText } from '../base/canonical.ts'
import { type AuditRecord, GENESIS, judgeRecords } from './audit-chain.ts'
import { type Checkpoint, checkpointDigest, judgeCheckpoint } from './checkpoint.ts'

/** The first form has no CloudEvents around its records. */
const FORMATS = ['hub-audit-export-v1', 'hub-audit-export-v2'] as const
type ExportFormat = (typeof FORMATS)[number]
const [BARE, EVENTS] = FORMATS
/** No line of an honest export is longer; a longer one is not parsed. */
export const LINE_CHARACTERS_MAX = 262_144

/** Those that `hashRecord` covers, and the hash. */
export const RECORD_FIELDS = 14

export interface ExportHeader {
  format: ExportFormat
  instance: string
  /** PEM, of the key that signed the checkpoints. The file's own claim: it proves something only if the key is known from elsewhere. */
  publicKey: string
  /** How many records follow, and the hash of the last one. */
  size: number
  head: string
}

export const headerLine = (
  { instance, publicKey, size, head }: Omit<ExportHeader, 'format'>,
  format: ExportFormat = EVENTS,
): string => canonicalText({ format, instance, publicKey, size, head })
/** Its fields by name, as RFC 8785 orders them: `JSON.stringify` of this object is canonical by construction, and far cheaper. */
export const recordLine = (record: AuditRecord): string => {
  const { action, atMs, bootId, decisionId, effect, hash, outcome } = record
  const { payloadHash, policyRevision, previous, principal, reason, resource, seq } = record
  return JSON.stringify({
    ...{ action, atMs, bootId, decisionId, effect, hash, outcome },
    ...{ payloadHash, policyRevision, previous, principal, reason, resource, seq },
  })
}

/** A CloudEvent around a text that is canonical already; the whole is canonical too. */
function eventLine(
  data: string,
  event: { id: string; instance: string; subject: string; atMs: number; action: string },
) {
  const { id, instance, subject, atMs, action } = event
  const rest = JSON.stringify({
    ...{ id, source: `/hub/${instance}`, specversion: '1.0' },
    // CloudEvents has no empty subject.
    ...(subject === '' ? {} : { subject }),
    ...{ time: new Date(atMs).toISOString(), type: `hub.audit.${action}.v1` },
  })
  return `{"data":${data},${rest.slice(1)}`
}

/** A record as a CloudEvent. Its id is the record's hash, so what comes twice is known as the same. */
const recordEventLine = (instance: string, record: AuditRecord): string =>
  eventLine(recordLine(record), {
    ...{ id: record.hash, instance, subject: record.resource, atMs: record.atMs },
    action: record.action,
  })

/** A signed head as a CloudEvent, from the text that was signed. */
function checkpointEventLine(instance: string, text: string): string {
  const { size, wallMs } = JSON.parse(text) as Checkpoint
  return eventLine(text, {
    ...{ id: checkpointDigest(text), instance, subject: `record:${size}`, atMs: wallMs },
    action: 'signed',
  })
}

/** The lines of some records in order, each signed one followed by its checkpoint. */
export function* eventLines(
  instance: string,
  records: readonly AuditRecord[],
  checkpoints: readonly string[],
): Generator<string> {
  const signed = checkpoints.map((text) => ({ text, size: (JSON.parse(text) as Checkpoint).size }))
  for (const record of records) {
    yield recordEventLine(instance, record)
    while (signed[0] !== undefined && signed[0].size <= record.seq)
      yield checkpointEventLine(instance, signed.shift()?.text ?? '')
  }
}

export interface ExportVerdict {
  /** What was read and found whole, up to the fault if there is one. */
  size: number
  head: string
  checkpoints: number
  instance: string
  /** The key the checkpoints were judged by. */
  publicKey: string
  /** The first fault, with the line it is in; undefined for a whole file. */
  fault: { line: number; reason: string } | undefined
}

export interface ExportJudge {
  /** Judges the next line; false after the first fault, when nothing more need be read. */
  take(line: string): boolean
  end(): ExportVerdict
}

/**
 * @param expected.publicKey PEM known from elsewhere, such as `keys/checkpoint.pub` of the home; without it the one in the file is believed
 * @param expected.head A head kept elsewhere, or at least 16 characters of it: the file must contain it
 */
export function createExportJudge(expected: { publicKey?: string; head?: string }): ExportJudge {
  const walk = { size: 0, head: GENESIS }
  let header: ExportHeader | undefined
  let key: KeyObject | undefined
  let line = 0
  let signed = { size: 0, previous: GENESIS, count: 0 }
  let fault: ExportVerdict['fault']
  let seen = false

  function takeHeader(parsed: ExportHeader, text: string): string | undefined {
    if (!FORMATS.includes(parsed.format)) return `it does not begin as an ${EVENTS} or an ${BARE}`
    if (text !== headerLine(parsed, parsed.format)) return 'its header is not as it was written'
    if (expected.publicKey !== undefined && expected.publicKey !== parsed.publicKey)
      return 'it was signed with another key than the one it is checked with'
    header = parsed
    key = createPublicKey(parsed.publicKey)
    return undefined
  }

  function takeRecord(record: AuditRecord, text: string, { format, instance }: ExportHeader): string | undefined {
    const found = judgeRecords([record], walk)
    if (found !== undefined) return `at record ${found.seq}: ${found.reason}`
    // The hash covers known fields only; without this check an extra field, or an attribute of another record, would be believed.
    const written = format === BARE ? recordLine(record) : recordEventLine(instance, record)
    if (text !== written || Object.keys(record).length !== RECORD_FIELDS)
      return `record ${record.seq} is not as it was written`
    seen ||= expected.head !== undefined && record.hash.startsWith(expected.head)
    return undefined
  }

  function takeCheckpoint(
    checkpoint: Checkpoint,
    line: string,
    publicKey: KeyObject,
    { format, instance }: ExportHeader,
  ): string | undefined {
    const text = canonicalText(checkpoint)
    const wrong = judgeCheckpoint(checkpoint, { previous: signed.previous, publicKey })
    if (wrong !== undefined) return wrong
    if (line !== (format === BARE ? text : checkpointEventLine(instance, text)))
      return `checkpoint at ${checkpoint.size} is not as it was written`
    if (checkpoint.size !== walk.size || checkpoint.head !== walk.head)
      return `checkpoint at ${checkpoint.size} does not follow the record it signs`
    signed = { size: checkpoint.size, previous: checkpointDigest(text), count: signed.count + 1 }
    return undefined
  }

  function judge(text: string): string | undefined {
    if (text.length > LINE_CHARACTERS_MAX) return `it is longer than ${LINE_CHARACTERS_MAX} characters`
    let parsed: unknown
    try {
      parsed = JSON.parse(text)
    } catch {
      return 'it is not JSON'
    }
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return 'it is not an object'
    try {
      if (key === undefined || header === undefined) return takeHeader(parsed as ExportHeader, text)
      const data = header.format === BARE ? parsed : (parsed as { data?: object }).data
      if (typeof data !== 'object' || data === null) return 'it cannot be judged (it has no data)'
      if ('seq' in data) return takeRecord(data as AuditRecord, text, header)
      return takeCheckpoint(data as Checkpoint, text, key, header)
    } catch (thrown) {
      return `it cannot be judged (${(thrown as Error).message})`
    }
  }

  function judgeEnd(): string | undefined {
    if (header === undefined) return 'it is empty'
    if (walk.size < header.size) return `it ends after record ${walk.size}; its header says ${header.size}`
    if (walk.size > header.size || walk.head !== header.head) return 'its end is not the one its header names'
    if (signed.size !== walk.size) return `no checkpoint signs what follows record ${signed.size}`
    if (expected.head !== undefined && !seen) return `it does not contain the head ${expected.head}`
    return undefined
  }

  return {
    take(text) {
      if (fault !== undefined) return false
      line += 1
      const reason = judge(text)
      if (reason !== undefined) fault = { line, reason }
      return fault === undefined
    },
    end() {
      const reason = fault === undefined ? judgeEnd() : undefined
      return {
        ...walk,
        checkpoints: signed.count,
        instance: header?.instance ?? '',
        publicKey: header?.publicKey ?? '',
        fault: fault ?? (reason === undefined ? undefined : { line, reason }),
      }
    },
  }
}

/** The lines of a text that comes in parts. A line that is too long is handed on before it ends: the judge refuses it, and reading stops. */
export async function* linesOf(input: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = ''
  for await (const part of input) {
    const lines = (rest + part).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
    if (rest.length > LINE_CHARACTERS_MAX) yield rest
  }
  if (rest !== '') yield rest
}
