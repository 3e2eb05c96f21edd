/**
 * Alerts: the file, the outbox, and the channels of operator and contact (docs/safety.md 7).
 * A1 `tell` writes the outbox, then the alert file, and only then the state says "told". A2 `turn` sends, only after the state was
 * written. So a telling that a crash cut off is still in the files, whole or in part, under a number that the state does not know:
 * `recover` completes it and puts it into the state, and each event is told once. A3 neither waits for a channel. A4 a full disk
 * silences only the file.
 */
import type { Clock } from '../base/clock.ts'
import { planLoudAt } from '../base/quiet-hours.ts'
import type { Config } from '../config/config.ts'
import type { State } from '../judge/state.ts'
import { createAlertFile } from './alert-file.ts'
import type { Post } from './channels/letter.ts'
import type { OpenPost } from './channels/open.ts'
import { type ChannelState, createDelivery, type Route } from './delivery.ts'
import { type NoticeParcel, noticeLetter } from './notices/letter.ts'
import type { Notice } from './notices/plan.ts'
import { type AlertParcel, operatorLetter, packEvents, whenText } from './operator-letter.ts'
import type { Outbox } from './outbox.ts'
import { type AlertEvent, tellingName } from './plan.ts'
import { cutOff, isToldEvent, planRecovered, toldNotice } from './recovery.ts'

// Failures of the alerting itself, as findings: silence must be noticed (T98). Pure.

/** One failure may pass by itself; two in a row are told through the other channels. */
const FAILURES_MIN = 2

export function failingFindings(
  channels: readonly ChannelState[],
  facts: { outboxFault: string | null; outboxDamage: string | null; contact: string; noticesWait: boolean },
): (readonly [string, string])[] {
  const found: (readonly [string, string])[] = []
  const name = (one: ChannelState) =>
    one.key.startsWith('contact/') ? `${one.label} (to ${facts.contact})` : one.label
  const failing = channels.filter((one) => one.failures >= FAILURES_MIN)
  if (failing.length > 0) {
    const each = failing.map((one) => `${name(one)}: ${one.reason}; ${one.waiting} waiting`)
    found.push(['channel_failing', `Alerts do not arrive: ${each.join('. ')}. Fix that, then run: hub alert test`])
  }
  const lost = channels.filter((one) => one.lost > 0)
  if (lost.length > 0) {
    const each = lost.map((one) => `${name(one)}: ${one.lost}`)
    found.push([
      'messages_lost',
      `Messages were not delivered, and the watchdog gave up on them. ${each.join('. ')}. They are in alerts.log`,
    ])
  }
  const contact = channels.filter((one) => one.key.startsWith('contact/'))
  if (facts.noticesWait && contact.length > 0 && contact.every((one) => one.failures >= FAILURES_MIN)) {
    found.push([
      'contact_unreachable',
      `${facts.contact} could not be told: no channel takes the message. Tell them yourself, then fix the channels`,
    ])
  }
  if (facts.outboxFault !== null) {
    found.push(['outbox_failing', `Waiting messages cannot be saved to disk: ${facts.outboxFault}. Free some space`])
  }
  if (facts.outboxDamage !== null) found.push(['outbox_damaged', `The outbox: ${facts.outboxDamage}.`])
  return found
}

export type AnyParcel = AlertParcel | NoticeParcel

/** Number of the telling (state.ts) and the instant of the watchdog's line. */
export interface Telling {
  readonly told: number
  readonly lineMs: number
}

export interface Alerts {
  /** Writes events for the operator and notices for the contact. @throws if the alert file was not written; the rest was written anyway. */
  tell(events: readonly AlertEvent[], notices: readonly Notice[], telling: Telling): void
  /** The state at a start, completed with what an interrupted telling has told. */
  recover(state: State): State
  /** Starts deliveries that are due and gives up messages that are too old. Never waits, never throws. */
  turn(lineMs: number): void
  /** Failures of the alerting itself, as [finding id, text]. */
  own(): readonly (readonly [string, string])[]
  readonly operator: readonly Route[]
  readonly contact: readonly Route[]
  states(): readonly ChannelState[]
  /** Resolves when nothing is under way; for tests. */
  settled(): Promise<void>
}

export type AlertsConfig = Pick<Config, 'channels' | 'zone' | 'operator' | 'contact'>

const ABSENCE = new Set<Notice['kind']>(['missed', 'reminder', 'stopped', 'checked_in', 'all_clear'])

export function createAlerts(
  options: { file: string; instance: string; config: AlertsConfig },
  parts: { clock: Clock; outbox: Outbox<AnyParcel>; openPost: OpenPost },
): Alerts {
  const { instance, config } = options
  const { clock, outbox } = parts
  const file = createAlertFile(options.file)
  const operator = config.channels.flatMap((channel, index) =>
    channel.kind === 'file' ? [] : [{ key: `operator/${index}/${channel.kind}`, post: parts.openPost(channel) }],
  )
  const contact = config.contact.channels.map((channel, index) => ({
    key: `contact/${index}/${channel.kind}`,
    post: parts.openPost(channel),
  }))
  const startedMs = clock.read().wallMs

  const delivery = createDelivery<AnyParcel>([...operator, ...contact], {
    clock,
    outbox,
    render: (parcel) =>
      parcel.kind === 'alerts'
        ? operatorLetter(parcel, { instance, zone: config.operator.zone })
        : noticeLetter(parcel, { instance, ...config }, clock.read().wallMs),
    waits: (parcel, post: Post, wallMs) =>
      post.loud &&
      planLoudAt(wallMs, parcel.severity, parcel.kind === 'alerts' ? config.operator : config.contact) > wallMs,
  })

  function append(events: readonly AlertEvent[], notices: readonly Notice[], telling: Telling): void {
    const { wallMs } = clock.read()
    const when = whenText(wallMs, config.operator.zone)
    const heads = [
      ...events.map(({ id, ...event }) => ({ id, wallMs, when, instance, ...event })),
      ...notices.map((notice) => ({
        id: `${tellingName(telling.told)}-contact-${notice.step}`,
        wallMs,
        when,
        instance,
        event: 'contact',
        finding: notice.kind,
        step: notice.step,
        to: config.contact.name,
      })),
    ]
    if (heads.length > 0) file.append(heads)
  }

  function addEvents(events: readonly AlertEvent[], telling: Telling): void {
    for (const { key: to } of operator) {
      const known = new Set(
        delivery
          .waiting()
          .flatMap((one) => (one.kind === 'alerts' && one.to === to ? one.events.map(({ id }) => id) : [])),
      )
      const fresh = events.filter(({ id }) => !known.has(id))
      const base = { to, lineMs: telling.lineMs, wallMs: clock.read().wallMs }
      for (const parcel of packEvents(fresh, base)) delivery.add(parcel)
    }
  }

  function addNotice(notice: Notice, telling: Telling): void {
    const id = `${tellingName(telling.told)}-contact-${notice.step}`
    for (const { key: to } of contact) {
      const waiting = delivery.waiting().filter((one) => one.kind === 'notice' && one.to === to)
      if (waiting.some((one) => one.kind === 'notice' && one.id === id)) continue
      // Newer news replaces what still waits for the morning.
      const overtaken = ABSENCE.has(notice.kind)
        ? delivery.takeBack((one) => one.kind === 'notice' && one.to === to && ABSENCE.has(one.notice.kind))
        : []
      const unheard = overtaken.some((one) => one.kind === 'notice' && one.first)
      if (notice.kind === 'all_clear' && unheard) continue
      const first = unheard || notice.kind === 'missed'
      const severity = notice.kind === 'critical' ? 'critical' : 'warning'
      const { wallMs } = clock.read()
      delivery.add({ kind: 'notice', id, to, severity, notice, first, lineMs: telling.lineMs, wallMs })
    }
  }

  return {
    operator,
    contact,
    tell(events, notices, telling) {
      addEvents(events, telling)
      for (const notice of notices) addNotice(notice, telling)
      append(events, notices, telling)
    },
    recover(state) {
      const waiting = delivery.waiting()
      const events = waiting.flatMap((one) => (one.kind === 'alerts' ? one.events : []))
      const notices = waiting.flatMap((one) => (one.kind === 'notice' ? [one] : []))
      // Every channel and the file get what one of them got.
      for (const [told, parts] of cutOff(events, notices, state)) {
        const telling = { told, lineMs: state.lineMs }
        addEvents(parts.events, telling)
        for (const notice of parts.notices) addNotice(notice, telling)
        try {
          append(parts.events, parts.notices, telling)
        } catch {
          // Nothing can be written; the next attempt to tell fails in the same way and says so.
        }
      }
      const said = notices.map(({ id, notice }) => ({ id, kind: notice.kind, step: notice.step }))
      return planRecovered(
        state,
        [...events, ...file.last.filter(isToldEvent)],
        [...said, ...file.last.flatMap((line) => toldNotice(line) ?? [])],
      )
    },
    turn: (lineMs) => delivery.turn(lineMs),
    own: () =>
      failingFindings(delivery.states(), {
        outboxFault: outbox.fault(),
        outboxDamage: outbox.damage !== null && clock.read().wallMs - startedMs < 3_600_000 ? outbox.damage : null,
        contact: config.contact.name,
        noticesWait: delivery.waiting().some((one) => one.kind === 'notice'),
      }),
    states: () => delivery.states(),
    settled: () => delivery.settled(),
  }
}
