/**
 * Sends the audit log to where the operator wants it as well (S1-64). The log itself is the queue: nothing is copied, and nothing is lost
 * while a receiver is away.
 *
 * F1. Each target by itself, one batch at a time, growing pauses after a failure. Nobody waits for it: a round starts what is due and returns.
 * F2. How far each target is stands in the database. After a restart it goes on there: a record may come twice, and none is left out. Each
 *     has an id, its hash, by which a receiver knows it again.
 * F3. Only what is signed is sent, so that every record is followed by a signed head. It is read from tables and sealed files alike.
 * F4. A target that is behind has an alert, and says so in `hub status`.
 * F5. One that a batch is too much for is sent less (batch-size.ts). Only a record that is too large for it even alone, again and again, is
 *     left out for it, and that is a record of its own. Of what it refuses in a row less and less is left out: it may refuse everything. Such
 *     a record about itself is never left out, or there would be no end of them.
 */
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Meta } from '../../store/meta.ts'
import type { Alerts } from '../alerts/alerts.ts'
import { spanWords } from '../alerts/wording.ts'
import type { Checkpoints } from '../audit/checkpoint.ts'
import type { AuditLog } from '../audit/log.ts'
import type { Gate } from '../gate.ts'
import { hubPrincipal } from '../principal.ts'
import { type Batch, nextBatch, type Sink } from './batch.ts'
import { type BatchSize, createBatchSize, tooMuchOf } from './batch-size.ts'
import type { TargetSettings } from './settings.ts'

const FIRST_PAUSE_MS = 1000
const PAUSE_MAX_MS = 60_000
/** Up to 20 000 records a second for each target, more than a hub writes. */
const BATCHES_A_ROUND = 10
/** So long nothing was taken although something waits, or so many records wait: then it is behind. */
const STUCK_MS = 60_000
const BEHIND_RECORDS = 65_536
/** It is no longer behind once it takes records again and at most these wait. */
const CAUGHT_UP_RECORDS = 8192
const REASON_MAX = 300
/** So often a record has to be refused alone before it is left out: two minutes, with the pauses. */
const REFUSED_ALONE_MAX = 8
/** The number doubles so often for what is left out in a row: up to an hour. */
const DOUBLED_MAX = 3

const FORWARDER = hubPrincipal('forwarder')

const EFFECT_MAX = 500

const reasonOf = (thrown: unknown): string => toHubError(thrown).reason.slice(0, REASON_MAX)
const resourceOf = ({ name }: Pick<TargetSettings, 'name'>): string => `forward:${name}`
const causeOf = (name: string) => `audit_forward:${name}` as const

export interface ForwardState {
  name: string
  kind: TargetSettings['kind']
  /** The last record that it took. */
  sentTo: number
  /** Signed records that it has not taken. */
  waiting: number
  isBehind: boolean
  /** Why the last try failed; null if it did not. */
  fault: string | null
}

export interface Forwarder {
  /** Starts what is due and judges who is behind; returns at once. Called by a loop. */
  round(): void
  states(): ForwardState[]
  /** Starts nothing more, abandons what is under way, and writes down how far each is. */
  stop(): void
}

interface Running {
  readonly settings: TargetSettings
  readonly sink: Sink
  readonly size: BatchSize
  sentTo: number
  waiting: number
  isBehind: boolean
  busy: boolean
  failedInARow: number
  /** How often its next record was refused alone, as too large; and how many were left out since it last took one. */
  refusedAlone: number
  leftOutInARow: number
  fault: string | null
  /** Monotonic: no try before then; since when something waits and nothing was taken. */
  notBefore: number
  stillSince: number | undefined
}

export function createForwarder(
  targets: readonly { settings: TargetSettings; sink: Sink }[],
  parts: {
    audit: Pick<AuditLog, 'page'>
    checkpoints: Pick<Checkpoints, 'signer' | 'between' | 'newest'>
    meta: Pick<Meta, 'get' | 'set'>
    alerts: Pick<Alerts, 'raise' | 'resolve'>
    gate: Pick<Gate, 'admit'>
    clock: Clock
    log: Log
    /** Resolves when others have had their turn. */
    turn: () => Promise<void>
  },
): Forwarder {
  const { audit, checkpoints, meta, alerts, gate, clock, log, turn } = parts
  const ending = new AbortController()
  const known = read()
  const running = targets.map(
    ({ settings, sink }): Running => ({
      ...{ settings, sink, size: createBatchSize(), sentTo: known.get(settings.name) ?? beginningOf(settings) },
      ...{ waiting: 0, isBehind: false, busy: false, failedInARow: 0, fault: null },
      ...{ refusedAlone: 0, leftOutInARow: 0 },
      ...{ notBefore: Number.NEGATIVE_INFINITY, stillSince: undefined },
    }),
  )
  let written = JSON.stringify(Object.fromEntries(known))
  // Nobody else would ever end the alert of one that is no longer configured.
  for (const name of known.keys())
    if (!running.some(({ settings }) => settings.name === name))
      alerts.resolve(causeOf(name), `The audit log is no longer forwarded to ${name}: it is not configured any more.`)
  // A target that begins now has its place written down at once.
  if (running.length > 0) save()

  function read(): Map<string, number> {
    try {
      return new Map(Object.entries(JSON.parse(meta.get('audit_forwarded') ?? '{}') as Record<string, number>))
    } catch {
      return new Map()
    }
  }

  function beginningOf({ from }: TargetSettings): number {
    return from === 'now' ? (checkpoints.newest()?.size ?? 0) : 0
  }

  /** How far each is; `other` as it will be. */
  function placesText(other?: Pick<Running, 'settings' | 'sentTo'>): string {
    const places = new Map(running.map(({ settings, sentTo }) => [settings.name, sentTo]))
    if (other !== undefined) places.set(other.settings.name, other.sentTo)
    return JSON.stringify(Object.fromEntries(places))
  }

  /** A store that cannot be written keeps the earlier place: some come twice. */
  function save(): void {
    const text = placesText()
    if (text === written) return
    try {
      meta.set('audit_forwarded', text)
      written = text
    } catch (thrown) {
      if (toHubError(thrown).code !== 'store_unavailable') throw thrown
    }
  }

  async function send(target: Running, upTo: number): Promise<void> {
    target.busy = true
    try {
      for (let left = BATCHES_A_ROUND; left > 0 && target.sentTo < upTo; left -= 1) {
        const batch = await nextBatch({ audit, checkpoints, turn }, target.sentTo, upTo, target.size.max())
        try {
          await target.sink(batch, ending.signal)
        } catch (thrown) {
          if (ending.signal.aborted || !goesOn(target, batch, thrown)) return
          continue
        }
        if (ending.signal.aborted) return
        target.size.taken()
        Object.assign(target, { sentTo: batch.last, waiting: upTo - batch.last, failedInARow: 0, fault: null })
        Object.assign(target, { refusedAlone: 0, leftOutInARow: 0 })
        target.stillSince = clock.monotonicMs()
        save()
      }
    } catch (thrown) {
      if (!ending.signal.aborted) failed(target, reasonOf(thrown))
    } finally {
      target.busy = false
    }
  }

  /** It did not take this batch. False if it is to be left alone for a while. */
  function goesOn(target: Running, batch: Batch, thrown: unknown): boolean {
    const reason = reasonOf(thrown)
    const what = tooMuchOf(thrown)
    if (what !== undefined && target.size.halve(batch)) {
      target.fault = reason
      return true
    }
    failed(target, reason)
    const [only] = batch.entries
    if (what !== 'size' || only === undefined) return false
    target.refusedAlone += 1
    const enough = REFUSED_ALONE_MAX * 2 ** Math.min(DOUBLED_MAX, target.leftOutInARow)
    const isOwn = only.record.resource === resourceOf(target.settings) && only.record.action === 'hub.observed'
    if (target.refusedAlone < enough || isOwn) return false
    leaveOut(target, batch, reason)
    return true
  }

  /** Goes on behind a record that it never takes. Its place moves only together with the record of that. Throws if that cannot be written. */
  function leaveOut(target: Running, { last, bytes }: Batch, reason: string): void {
    const { name } = target.settings
    const effect = `record ${last} (${bytes} bytes) is left out for ${name}, which refused it alone ${target.refusedAlone} times: ${reason}`
    const text = placesText({ ...target, sentTo: last })
    gate.admit({ principal: FORWARDER, operation: 'hub.observe', resource: resourceOf(target.settings) }, () => {
      meta.set('audit_forwarded', text)
      return { auditEffect: effect.slice(0, EFFECT_MAX) }
    })
    written = text
    Object.assign(target, { sentTo: last, refusedAlone: 0, leftOutInARow: target.leftOutInARow + 1 })
    Object.assign(target, { failedInARow: 0, notBefore: Number.NEGATIVE_INFINITY })
    log.warn({ forward: name, record: last, reason }, 'a record of the audit log is left out for a receiver')
  }

  function failed(target: Running, reason: string): void {
    target.failedInARow += 1
    target.fault = reason
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** (target.failedInARow - 1), PAUSE_MAX_MS)
    target.notBefore = clock.monotonicMs() + pause
    if (target.failedInARow === 1)
      log.warn({ forward: target.settings.name, reason }, 'audit records were not taken; they are sent again')
  }

  function judge(target: Running): void {
    const { waiting, failedInARow, refusedAlone, fault } = target
    const cause = causeOf(target.settings.name)
    const stillMs = target.stillSince === undefined ? 0 : clock.monotonicMs() - target.stillSince
    if (waiting > BEHIND_RECORDS || (waiting > 0 && stillMs >= STUCK_MS)) {
      target.isBehind = true
      const how = fault === null ? '' : ` The last try failed: ${fault}.`
      const only =
        refusedAlone === 0
          ? ''
          : ` It refuses record ${target.sentTo + 1} even alone: let it take larger requests, or that record is left out for it, and the log says so.`
      alerts.raise(
        cause,
        'warning',
        `The audit log is not forwarded to ${target.settings.name} as it grows: ${waiting} records wait, and the last was taken ${spanWords(stillMs)} ago.${how}${only} Nothing is lost: they stay in the log and are sent once it takes them.`,
      )
    } else if (failedInARow === 0 && waiting <= CAUGHT_UP_RECORDS) {
      target.isBehind = false
      alerts.resolve(cause, `The audit log is forwarded to ${target.settings.name} again.`)
    }
  }

  return {
    round() {
      if (ending.signal.aborted || running.length === 0) return
      save()
      const signed = checkpoints.newest()?.size ?? 0
      for (const target of running) {
        target.waiting = Math.max(0, signed - target.sentTo)
        if (target.waiting === 0) target.stillSince = undefined
        else target.stillSince ??= clock.monotonicMs()
        judge(target)
        if (target.busy || target.waiting === 0 || clock.monotonicMs() < target.notBefore) continue
        send(target, signed).catch((thrown) =>
          log.error({ forward: target.settings.name, reason: toHubError(thrown).reason }, 'forwarding failed'),
        )
      }
    },
    states: () =>
      running.map(({ settings: { name, kind }, sentTo, waiting, isBehind, fault }) => ({
        ...{ name, kind, sentTo, waiting, isBehind, fault },
      })),
    stop() {
      ending.abort()
      if (running.length > 0) save()
    },
  }
}
