/**
 * A month that has ended becomes a signed file, and later, when retention says so, its table goes.
 *
 * L1. In order: the file is written, synced and read back whole before the month counts as sealed; it is read back whole again before its
 *     table is dropped. No row is ever deleted or changed.
 * L2. A process that dies in between leaves a month that is still `ended` (the file is made again), or `sealed`, or `dropped`, with decisions
 *     and checkpoints that stand in the file too (they go at the next round). Nothing else can be found at a start.
 * L3. One at a time, oldest first, with turns between: the agents' lines do not wait for it.
 */
import { createHash } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { HubError, toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { AuditRecord } from '../../protocol/audit-chain.ts'
import { GENESIS } from '../../protocol/audit-chain.ts'
import { recordLine } from '../../protocol/audit-export.ts'
import { decisionLine, type SegmentVerdict, segmentHeaderLine } from '../../protocol/audit-segment.ts'
import type { Checkpoints } from './checkpoint.ts'
import type { DecisionMarks } from './decision-marks.ts'
import type { AuditLog } from './log.ts'
import type { AuditMonth } from './months.ts'
import { BLOCK_RECORDS, judgeSegment, segmentPath, writeSegment } from './segment-file.ts'

export interface AuditSealing {
  /** Oldest first; the open month is the last. */
  months(): readonly AuditMonth[]
  /** Seals every month that has ended, and takes away what dropped ones left. Never twice at once. */
  round(): Promise<void>
  /**
   * Drops the table of a sealed month, its file read back first. Throws `conflict` for a month there is none of, one that is
   * not sealed, or after one whose table is still there, or whose file is not whole: then everything stays. `within`:
   * the transaction that records it.
   */
  drop(name: string, within?: (drop: () => void) => void): Promise<void>
}

export function createSealing(parts: {
  home: string
  audit: AuditLog
  checkpoints: Checkpoints
  marks: DecisionMarks
  clock: Clock
  log: Log
  turn: () => Promise<void>
  /** Hears after each round why a month could not be sealed, or that none is left. */
  onUnsealed: (reason: string | undefined) => void
}): AuditSealing {
  const { home, audit, checkpoints, marks, clock, log, turn, onUnsealed } = parts
  const { months } = audit
  const { publicKey, instance } = checkpoints.signer
  const fileOf = ({ name }: AuditMonth) => segmentPath(home, name)
  const readBack = (month: AuditMonth) => judgeSegment(fileOf(month), { publicKey }, turn)
  let busy: Promise<unknown> = Promise.resolve()

  /** One after the other, whoever asks. */
  function alone<Result>(run: () => Promise<Result>): Promise<Result> {
    const mine = busy.then(run, run)
    busy = mine.catch(() => undefined)
    return mine
  }

  const before = (month: AuditMonth): AuditMonth | undefined =>
    months.all()[months.all().findIndex((each) => each.first === month.first) - 1]

  /** What the digest before a month's first checkpoint is. */
  const signedBefore = (month: AuditMonth): string => before(month)?.signed ?? GENESIS

  async function* blocksOf(month: AuditMonth, last: number): AsyncGenerator<string[]> {
    const { name, first, previous } = month
    const hash = createHash('sha256')
    const counts = { checkpoints: 0, decisions: 0 }
    const taken = (lines: string[]) => {
      for (const line of lines) hash.update(`${line}\n`)
      return lines
    }
    yield taken([segmentHeaderLine({ instance, name, publicKey, first, previous, signed: signedBefore(month) })])
    let head = previous
    for (let at = first - 1; at < last; ) {
      const records = audit.page(at, Math.min(last, at + BLOCK_RECORDS)).records
      const to = records.at(-1)
      if (to === undefined || records.length !== to.seq - at) throw new Error(`record ${at + 1} is missing`)
      const signed = checkpoints.between(at, to.seq)
      counts.checkpoints += signed.length
      yield taken(linesOf(records, signed))
      ;({ seq: at, hash: head } = to)
      await turn()
    }
    for (let page = marks.lastNamedIn(first, last, ''); page.length > 0; ) {
      yield taken(page.map(decisionLine))
      counts.decisions += page.length
      page = marks.lastNamedIn(first, last, String(page.at(-1)?.decision_id))
      await turn()
    }
    const facts = { name, first, last, head, ...counts, sealedAtMs: clock.wallMs() }
    yield [checkpoints.seal({ ...facts, sha256: hash.digest('hex') })]
  }

  async function seal(month: AuditMonth): Promise<void> {
    const { first, last, head, name } = month
    if (last === null) return
    await marks.advance(last, turn)
    const file = await writeSegment(fileOf(month), blocksOf(month, last))
    const found = await readBack(month)
    requireWhole(month, found)
    months.sealed(month, { ...file, signed: found.signed, checkpoints: found.checkpoints })
    log.info({ month: name, first, last, head, bytes: file.bytes }, 'a month of the audit log was sealed')
  }

  function requireWhole(month: AuditMonth, { fault, size, head, header }: SegmentVerdict): void {
    const reason =
      fault?.reason ??
      (size === month.last && head === month.head && header?.first === month.first
        ? undefined
        : 'it is of other records')
    if (reason !== undefined)
      throw new HubError('conflict', `audit/${month.name}.jsonl.gz is not whole: ${reason}; its table stays`)
  }

  /** Decisions and checkpoints that only files need. */
  async function tidy(): Promise<void> {
    const last = months.all().findLast(({ state }) => state === 'dropped')?.last ?? null
    if (last === null) return
    while (checkpoints.purge(last) > 0) await turn()
    await marks.advance(audit.head().size, turn)
    while (marks.forget(last) > 0) await turn()
  }

  return {
    months: months.all,
    round: () =>
      alone(async () => {
        for (const month of months.all()) {
          if (month.state !== 'ended') continue
          try {
            await seal(month)
          } catch (thrown) {
            // The rows stay where they are; the next round begins anew. No fault of the store's.
            onUnsealed(`${month.name}: ${toHubError(thrown).reason}`)
            return
          }
        }
        onUnsealed(undefined)
        await tidy()
      }),
    drop: (name, within = (drop) => drop()) =>
      alone(async () => {
        const month = months.find(name)
        if (month === undefined) throw new HubError('conflict', `the audit log has no month ${name}`)
        if (month.state === 'dropped') return
        if (month.state !== 'sealed') throw new HubError('conflict', `the audit month ${name} is not sealed yet`)
        if (before(month) !== undefined && before(month)?.state !== 'dropped')
          throw new HubError('conflict', `the audit month before ${name} is dropped first`)
        requireWhole(month, await readBack(month))
        within(() => months.drop(month))
        log.info({ month: name }, 'the table of a sealed month of the audit log was dropped; its file stays')
        await tidy()
      }),
  }
}

function linesOf(records: readonly AuditRecord[], signed: readonly string[]): string[] {
  const waiting = signed.map((text) => ({ text, size: (JSON.parse(text) as { size: number }).size }))
  const lines: string[] = []
  for (const record of records) {
    lines.push(recordLine(record))
    while (waiting[0] !== undefined && waiting[0].size <= record.seq) lines.push(waiting.shift()?.text ?? '')
  }
  return lines
}
