/**
 * Alerts: what the operator has to know, once per cause (docs/safety.md 7). A row first, delivery later.
 *
 * A1. Raised once while open. It is told again if the severity rises, or if it is repeated on purpose (a mode that lasts, S1-19).
 *     A "resolved" always follows, once.
 * A2. While the store fails an alert is kept in memory and still told; it is written when the store works again.
 * A3. Critical is a closed list (`kinds.ts`): what is not on it becomes a warning. A critical alert keeps the hub safe until the operator
 *     ends that one by its id.
 * A4. Only this file moves the state of an alert: raised, then sent with the first channel that took it, or given_up with the last that did not.
 * A5. A critical alert that names a session is written at once, and the hub is safe at once. It is told once that session is contained and
 *     evidence of it is kept, or after `CONTAIN_MS_MAX` (S1-67).
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Grid } from '../../base/meters.ts'
import { newUuid, type Random } from '../../base/random.ts'
import { type Hide, hideUnknown } from '../../base/redaction.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Events } from '../events.ts'
import { assertGrant, type Grant } from '../grant.ts'
import type { Modes } from '../modes.ts'
import {
  type Alert,
  type AlertEvent,
  type AlertKind,
  type AlertState,
  alertMachine,
  type Cause,
  holdsSafe,
  isLouder,
  kindOf,
  mayBeCritical,
  type Severity,
} from './kinds.ts'
import type { AlertOrDelivery, AlertRows } from './rows.ts'
import { alertText, causeText as judgedCause } from './wording.ts'

const OPEN_MAX = 1000
const FULL = 'alerts_full'
const LIST_MAX = 100

/** One thing to be told, before it is divided among channels. */
export interface Telling {
  alert: Alert
  event: AlertEvent
  text: string
}

export interface Alerts {
  /**
   * Opens an alert of this cause (`kind` or `kind:subject`), or makes the open one louder. `lastsMs`: an event without an end of its own
   * is over once it was not raised again for this long. Works inside and outside of transactions; an alert raised in a transaction that is
   * undone stays. Throws only inside a transaction whose store fails, like any other write there.
   */
  raise(cause: Cause, severity: Severity, text: string, lastsMs?: number): void
  /** Tells an open alert once more, with what is to be said of it now; without an open one nothing happens. */
  repeat(cause: string, text: string): void
  /** Ends the open alert of this cause; without one nothing happens. `text`: how it ended. Throws as `raise`. */
  resolve(cause: string, text?: string): void
  /** For an event that is news each time it happens: raises it, and tells it again if it is open. */
  event(cause: Cause, severity: Severity, text: string, lastsMs: number): void
  /** The effect of `hub resume --alert ID`: the operator has dealt with it. Throws `conflict` unless that critical alert is open. */
  release(grant: Grant, id: string): void
  isOpen(cause: string): boolean
  find(id: string): Alert | undefined
  /** Open ones, oldest first; with `all` the newest hundred, resolved ones too. */
  list(all?: boolean): Alert[]
  /**
   * Sets who contains what a critical alert names, by the subject of its cause. Answers undefined if that is no session. The promise says when
   * people may be told.
   */
  onAccused(contain: Contain): void
  /** Called by the outbox: what became of an alert's deliveries. */
  settle(id: string, state: Exclude<AlertState, 'raised'>): void
  /** Ends events that were not raised again, and writes what the store did not take; called by a loop. */
  tick(): void
}

type Contain = (subject: string, why: string) => Promise<void> | undefined

export function createAlerts(parts: {
  rows: AlertRows
  modes: Modes
  events: Events
  clock: Clock
  /** Epoch ms by the steady clock: retention measures age from the end of an alert. */
  steadyMs: () => number
  random: Random
  log: Log
  /** Divides it among channels and answers the outbox lines, to be written together with the alert. */
  tell: (telling: Telling) => readonly AlertOrDelivery[]
  /** Keeps an alert from being told, for a while at most. Answers a function that lets it go. */
  holdBack: (alert: string) => () => void
  afterCommit: (fn: () => void) => void
  hide?: Hide
  /** Counts each that was opened, and each that became more serious. */
  meter?: Grid<AlertKind, Severity>
}): Alerts {
  const { rows, modes, events, clock, steadyMs, random, log, tell, holdBack, afterCommit, meter } = parts
  const { hide = hideUnknown().text } = parts
  const causeText = (cause: string) => judgedCause(cause, hide)
  const redacted = (text: string) => alertText(text, hide)
  let contain: Contain = () => undefined
  const open = new Map(rows.open().map((alert) => [alert.cause, alert]))
  /** Monotonic instant an event was last seen; after a restart, now. */
  const seenAt = new Map([...open.keys()].map((cause) => [cause, clock.monotonicMs()]))
  // An open alert that holds the hub safe does so even if its condition was not saved: stricter wins (I5).
  for (const { id, cause, holds } of open.values()) if (holds) holdSafe(id, cause)

  function holdSafe(id: string, cause: string): void {
    modes.raise('critical_alert', `alert ${id}: ${cause}`)
  }

  function publish(event: AlertEvent, { id, cause, severity }: Alert, text: string): void {
    const type = event === 'resolved' ? 'hub.alert.resolved.v1' : 'hub.alert.raised.v1'
    events.publish(type, `alert:${id}`, { id, cause, severity, event, text })
    log[event === 'resolved' ? 'info' : 'warn']({ alert: id, cause, severity, event, reason: text }, 'an alert')
  }

  /** Memory first, so that it counts also while the store fails (A2). */
  function change(event: AlertEvent, alert: Alert, text: string): void {
    if (event === 'resolved') open.delete(alert.cause)
    else open.set(alert.cause, alert)
    publish(event, alert, text)
    if (alert.holds && event !== 'resolved') holdSafe(alert.id, alert.cause)
    rows.keep([alert, ...tell({ alert, event, text })])
  }

  function judged(cause: string, severity: Severity): Severity {
    if (severity !== 'critical' || mayBeCritical(cause)) return severity
    log.error({ cause }, 'only the kinds on the closed list may be critical; this one is told as a warning')
    return 'warning'
  }

  /** Its row is there already: a hub that ends meanwhile tells it after its restart (A5). */
  function containFirst({ id, cause, severity, text }: Alert): void {
    const subject = cause.slice(kindOf(cause).length + 1)
    if (severity !== 'critical' || subject === '') return
    afterCommit(() => {
      const letGo = holdBack(id)
      const contained = contain(subject, text)
      if (contained === undefined) letGo()
      else void contained.then(letGo, letGo)
    })
  }

  function raise(rawCause: Cause, asked: Severity, rawText: string, lastsMs?: number): void {
    const cause = causeText(rawCause)
    const text = redacted(rawText)
    const severity = judged(cause, asked)
    seenAt.set(cause, clock.monotonicMs())
    const known = open.get(cause)
    if (known !== undefined && !isLouder(severity, known.severity)) return
    const holds = holdsSafe(cause, severity)
    if (known !== undefined) {
      if (known.state !== 'raised') alertMachine.require(known.state, 'raised')
      const louder: Alert = { ...known, severity, text, holds, state: 'raised' }
      change('louder', louder, text)
      meter?.add(kindOf(rawCause), severity)
      containFirst(louder)
      return
    }
    if (open.size >= OPEN_MAX && cause !== FULL && severity !== 'critical') {
      log.error({ cause, severity, reason: text }, 'no room for another open alert')
      raise(FULL, 'warning', `${OPEN_MAX} alerts are open; further ones are only in the hub's log.`)
      return
    }
    const raisedAtMs = clock.wallMs()
    const id = newUuid(random, raisedAtMs)
    const times = { lastsMs: lastsMs ?? null, raisedAtMs, resolvedAtMs: null }
    const alert: Alert = { id, cause, severity, text, state: 'raised', holds, ...times }
    change('raised', alert, text)
    meter?.add(kindOf(rawCause), severity)
    containFirst(alert)
  }

  function repeat(rawCause: string, rawText: string): void {
    const known = open.get(causeText(rawCause))
    if (known === undefined) return
    const text = redacted(rawText)
    if (known.state !== 'raised') alertMachine.require(known.state, 'raised')
    change('raised', { ...known, text, state: 'raised' }, text)
  }

  function resolve(rawCause: string, how?: string): void {
    const cause = causeText(rawCause)
    const known = open.get(cause)
    if (known === undefined) return
    seenAt.delete(cause)
    const text = how === undefined ? `Over: ${known.text}` : redacted(how)
    // An alert that holds the hub safe stays open until the operator ends it, whatever becomes of its cause (A3).
    if (known.holds) return
    change('resolved', { ...known, resolvedAtMs: steadyMs() }, text)
    if (open.size < OPEN_MAX - 1 && cause !== FULL) resolve(FULL)
  }

  const find = (id: string) => [...open.values()].find((alert) => alert.id === id)

  return {
    raise,
    repeat,
    event(cause, severity, text, lastsMs) {
      const wasOpen = open.has(causeText(cause))
      raise(cause, severity, text, lastsMs)
      if (wasOpen) repeat(cause, text)
    },
    resolve,
    release(grant, id) {
      assertGrant(grant, 'mode.resume')
      const known = find(id)
      if (known === undefined || known.severity !== 'critical')
        throw new HubError('conflict', `no open critical alert has the id ${id}; see \`hub alert list\``)
      const released = { ...known, holds: false }
      rows.write(released)
      const isLast = [...open.values()].every((alert) => alert.id === id || !alert.holds)
      if (isLast) modes.clear('critical_alert')
      afterCommit(() => {
        open.set(known.cause, released)
        resolve(known.cause, `The operator has dealt with it: ${known.text}`)
      })
    },
    isOpen: (cause) => open.has(causeText(cause)),
    find,
    list: (all = false) => (all ? rows.recent(LIST_MAX) : [...open.values()]),
    onAccused(contains) {
      contain = contains
    },
    settle(id, state) {
      const known = find(id) ?? rows.find(id)
      // One channel that took it is enough.
      if (known === undefined || !alertMachine.may(known.state, state)) return
      const settled = { ...known, state }
      if (known.resolvedAtMs === null) open.set(known.cause, settled)
      rows.keep([settled])
    },
    tick() {
      rows.saveAgain()
      for (const { cause, lastsMs } of [...open.values()]) {
        const agoMs = clock.monotonicMs() - (seenAt.get(cause) ?? 0)
        if (lastsMs !== null && agoMs >= lastsMs) resolve(cause)
      }
    },
  }
}
