/**
 * A month that has ended becomes a signed file, and later, when retention says so, its table goes.
 *
 * L1. In order: the file is written, synced and read back whole; then it gets its name and the month counts as sealed. It is read back whole
 *     again before its table is dropped, in one commit with the record of that (months.ts). No row is ever deleted or changed while its
 *     table is part of the log. A dropped table is emptied some rows a turn; nobody reads it any more.
 * L2. A process that dies in between leaves the month `ended` (the file is made again), `sealed` or `dropped`. Rows of dropped tables, and
 *     decisions and checkpoints that the file holds too, go at the next round. Nothing else can be found at a start.
 *     A `sealed` month whose file is lost or not whole, and whose table is still there, is `ended` again, and so sealed again.
 * L3. One at a time, oldest first, with turns between: neither the agents' lines nor the end of the hub wait for it. A month that fails
 *     again and again is tried in ever fewer rounds, because each try reads a whole month of records.
 * L4. A file of this name with other records, or a damaged one, is never overwritten: it is kept as `NAME.jsonl.gz.before-<ms>`.
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
import { BLOCK_RECORDS, judgeSegment, keepAside, segmentBytes, segmentPath, writeSegment } from './segment-file.ts'

export interface AuditSealing {
  /** Oldest first; the open month is the last. */
  months(): readonly AuditMonth[]
  /** Seals every month that has ended, and removes what dropped ones left. Never twice at once; ends early, and quietly, with the signal. */
  round(signal?: AbortSignal): Promise<void>
  /**
   * Drops the table of a sealed month, after reading its file back. Throws `conflict` if there is no such month, if it is not sealed, if the
   * table of an earlier one is still there, or if its file is not whole. Then everything stays, and the next round makes the file again.
   * `within`: the transaction that records it; if that does not call back, the table stays. Ends early, and quietly, with the signal.
   */
  drop(name: string, within?: (drop: () => void) => void, signal?: AbortSignal): Promise<void>
}

/** At most this many rounds pass without a try after a month failed again and again. */
const ROUNDS_SKIPPED_MAX = 59

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
  const { home, audit, checkpoints, marks, clock, log, onUnsealed } = parts
  const { months } = audit
  const { publicKey, instance } = checkpoints.signer
  const fileOf = ({ name }: AuditMonth) => segmentPath(home, name)
  const failed = { first: 0, times: 0, skip: 0 }
  let busy: Promise<unknown> = Promise.resolve()
  /** Of what runs now. */
  let ending: AbortSignal | undefined

  async function turn(): Promise<void> {
    ending?.throwIfAborted()
    await parts.turn()
    ending?.throwIfAborted()
  }

  /** Runs one after the other, whoever asks. */
  function alone(signal: AbortSignal | undefined, run: () => Promise<void>): Promise<void> {
    const mine = busy.then(async () => {
      ending = signal
      try {
        if (signal?.aborted !== true) await run()
      } catch (thrown) {
        if (signal?.aborted !== true) throw thrown
      }
    })
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
    const { found, ...file } = await writeSegment(fileOf(month), blocksOf(month, last), async (draft) => {
      const verdict = await judgeSegment(draft, { publicKey }, turn)
      requireWhole(month, faultOf(month, verdict))
      await keepOther(month)
      return verdict
    })
    Object.assign(failed, { first: 0, times: 0, skip: 0 })
    months.sealed(month, { ...file, signed: found.signed, checkpoints: found.checkpoints })
    log.info({ month: name, first, last, head, bytes: file.bytes }, 'a month of the audit log was sealed')
  }

  /**
   * After `hub undo-update` a month may be sealed again with other records than its file holds, and that file may be all that is left of
   * them. So only a whole file with the same records, as a killed hub leaves it, is overwritten.
   */
  async function keepOther(month: AuditMonth): Promise<void> {
    const path = fileOf(month)
    if (segmentBytes(path) === undefined || (await faultOnDisk(month)) === undefined) return
    const kept = keepAside(path, clock.wallMs())
    log.warn({ month: month.name, kept }, 'there was another file of this audit month; it was kept under another name')
  }

  function faultOf(month: AuditMonth, { fault, size, head, header }: SegmentVerdict): string | undefined {
    return (
      fault?.reason ??
      (size === month.last && head === month.head && header?.first === month.first
        ? undefined
        : 'it holds other records')
    )
  }

  /** Why the file under its name is not whole, whatever keeps it from being read. */
  async function faultOnDisk(month: AuditMonth): Promise<string | undefined> {
    try {
      return faultOf(month, await judgeSegment(fileOf(month), { publicKey }, turn))
    } catch (thrown) {
      ending?.throwIfAborted()
      return segmentBytes(fileOf(month)) === undefined
        ? 'it is gone'
        : `it cannot be read (${toHubError(thrown).reason})`
    }
  }

  function sealAgain(month: AuditMonth, reason: string): void {
    log.warn(
      { month: month.name, reason },
      'the file of a sealed month is damaged; its table is whole, so the month is sealed again',
    )
    months.unsealed(month)
  }

  function requireWhole(month: AuditMonth, reason: string | undefined): void {
    if (reason !== undefined)
      throw new HubError('conflict', `audit/${month.name}.jsonl.gz is not whole: ${reason}; its table stays`)
  }

  function failedAgain({ first }: AuditMonth): void {
    const times = failed.first === first ? failed.times + 1 : 1
    Object.assign(failed, { first, times, skip: Math.min(2 ** (times - 1) - 1, ROUNDS_SKIPPED_MAX) })
  }

  /** What is left of dropped tables. */
  async function emptyDropped(): Promise<void> {
    while (months.emptyDropped()) await turn()
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
    round: (signal) =>
      alone(signal, async () => {
        await emptyDropped()
        for (const month of months.all())
          if (month.state === 'sealed' && segmentBytes(fileOf(month)) !== month.bytes)
            sealAgain(month, 'it is gone, or has another length')
        for (const month of months.all()) {
          if (month.state !== 'ended') continue
          if (failed.first === month.first && failed.skip > 0) {
            failed.skip -= 1
            return
          }
          try {
            await seal(month)
          } catch (thrown) {
            ending?.throwIfAborted()
            // The rows stay where they are; a later round tries again. The store is not at fault.
            failedAgain(month)
            onUnsealed(`${month.name}: ${toHubError(thrown).reason}`)
            return
          }
        }
        onUnsealed(undefined)
        await tidy()
      }),
    drop: (name, within = (drop) => drop(), signal) =>
      alone(signal, async () => {
        const month = months.find(name)
        if (month === undefined) throw new HubError('conflict', `the audit log has no month ${name}`)
        if (month.state === 'dropped') return
        if (month.state !== 'sealed') throw new HubError('conflict', `the audit month ${name} is not sealed yet`)
        if (before(month) !== undefined && before(month)?.state !== 'dropped')
          throw new HubError('conflict', `the audit month before ${name} must be dropped first`)
        const fault = await faultOnDisk(month)
        if (fault !== undefined) sealAgain(month, fault)
        requireWhole(month, fault)
        within(() => months.drop(month))
        if (months.find(name)?.state !== 'dropped') return
        log.info({ month: name }, 'the table of a sealed month of the audit log was dropped; its file stays')
        await emptyDropped()
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
