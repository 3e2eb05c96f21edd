/**
 * Carries the outbox to the channels (T98).
 *
 * D1. Each channel by itself: one message at a time, a deadline for every try, growing pauses after a failure. A channel that hangs or is dead
 *     delays neither another nor the hub's end: nobody waits for a try.
 * D2. After `FAILING_AFTER` failures in a row the other channels say that this one fails, until it takes something again. What it did not
 *     take stays until it is too old (outbox.ts O3); giving up is said the same way.
 * D3. A line is settled in its row after the channel took it: after a crash in between it is told twice, and never lost.
 */
import type { Clock } from '../../base/clock.ts'
import { toHubError } from '../../base/errors.ts'
import { newUuid, type Random } from '../../base/random.ts'
import type { Log } from '../../base/telemetry.ts'
import type { Alerts } from './alerts.ts'
import { kindOf } from './kinds.ts'
import { type Message, type MessageFacts, messageOf, type Send, testMessage } from './message.ts'
import type { Line, Outbox } from './outbox.ts'
import { CHANNEL_FAILING, isQuiet, OUTBOX_FULL } from './routing.ts'
import { type AlertSettings, type ChannelSettings, channelsOf } from './settings.ts'

const FAILING_AFTER = 3
const FIRST_PAUSE_MS = 5000
const PAUSE_FACTOR = 4
/** Of what a channel answered to a test. */
const ANSWER_MAX = 600
const PAUSE_MAX_MS = 600_000
const DEADLINE_MS = { email: 20_000, webhook: 6000, push: 6000, command: 10_000, file: 5000 } as const
/** What reaches a person elsewhere. A file and a command stay on this machine. */
const LINKED: ReadonlySet<ChannelSettings['kind']> = new Set(['email', 'push', 'webhook'])
const FULL_LASTS_MS = 3_600_000

export interface TestResult {
  channel: string
  kind: ChannelSettings['kind']
  ok: boolean
  /** What the other side said, or why it did not take it. */
  answer: string
  tookMs: number
}
export interface ChannelState {
  channel: string
  kind: ChannelSettings['kind']
  waiting: number
  /** Tries that failed since one succeeded, in this run of the hub. */
  failedInARow: number
  lastError: string
  /** Wall instant something was last taken in this run, a test too. */
  takenAtMs: number | null
}

export interface Delivery {
  /** Starts what is due; returns at once. Called by a loop. */
  round(): void
  /** Sends a test through one channel, or each at the same time. Throws nothing: failures are in the answer. */
  test(channel?: string): Promise<TestResult[]>
  states(): ChannelState[]
  /** The settings have changed. A channel that stays as it was keeps its count of failures; one that is gone is tried no more. */
  channelsChanged(): void
  /** Starts nothing more and abandons what is under way; the next run tells it again. */
  stop(): void
}

interface Channel {
  readonly settings: ChannelSettings
  readonly send: Send
  busy: boolean
  failedInARow: number
  lastError: string
  takenAtMs: number | null
  /** Monotonic. */
  notBefore: number
}

export function createDelivery(
  options: { settings: AlertSettings },
  parts: {
    alerts: Alerts
    outbox: Outbox
    /** What sends by each channel, as configured now. */
    sends: () => ReadonlyMap<string, Send>
    facts: () => MessageFacts
    /** The address of a page that answers this, for one message. */
    linkOf?: (cause: string) => string | undefined
    clock: Clock
    random: Random
    log: Log
  },
): Delivery {
  const { settings } = options
  const { alerts, outbox, sends, facts, linkOf = () => undefined, clock, random, log } = parts
  const ending = new AbortController()
  let channels = build([])

  /** A channel with the same settings is the same one. */
  function build(before: readonly Channel[]): readonly Channel[] {
    const built = sends()
    return channelsOf(settings).map((each): Channel => {
      const same = before.find((one) => JSON.stringify(one.settings) === JSON.stringify(each))
      return same ?? begun(each, built.get(each.name))
    })
  }
  function begun(each: ChannelSettings, made: Send | undefined): Channel {
    const send = made ?? (() => Promise.reject(new Error('nothing is built for this channel')))
    return {
      settings: each,
      send,
      busy: false,
      failedInARow: 0,
      lastError: '',
      takenAtMs: null,
      notBefore: Number.NEGATIVE_INFINITY,
    }
  }

  // An alert about a channel that is no longer configured would never end by itself (fault C37).
  function endOfGone(): void {
    for (const { cause } of alerts.list()) {
      const kind = kindOf(cause)
      const name = cause.slice(kind.length + 1)
      if (
        (kind === CHANNEL_FAILING || kind === OUTBOX_FULL) &&
        !channels.some(({ settings: each }) => each.name === name)
      )
        alerts.resolve(cause, `The channel ${name} is no longer configured.`)
    }
  }
  endOfGone()

  /** One try, which ends by its deadline whatever the channel does. */
  async function send(channel: Channel, message: Message): Promise<string> {
    const trying = new AbortController()
    const cut = () => trying.abort()
    ending.signal.addEventListener('abort', cut, { once: true })
    const deadlineMs = DEADLINE_MS[channel.settings.kind]
    const over = clock.sleep(deadlineMs, trying.signal).then(() => {
      throw new Error(ending.signal.aborted ? 'the hub is stopping' : `no answer within ${deadlineMs / 1000} s`)
    })
    over.catch(() => undefined)
    try {
      // A channel that throws at once is one that rejects.
      const sent = Promise.resolve().then(() => channel.send(message, trying.signal))
      sent.catch(() => undefined)
      return await Promise.race([sent, over])
    } finally {
      trying.abort()
      ending.signal.removeEventListener('abort', cut)
    }
  }

  function worked(channel: Channel): void {
    channel.failedInARow = 0
    channel.lastError = ''
    channel.takenAtMs = clock.wallMs()
    channel.notBefore = Number.NEGATIVE_INFINITY
    alerts.resolve(
      `${CHANNEL_FAILING}:${channel.settings.name}`,
      `The channel ${channel.settings.name} delivers again.`,
    )
  }

  function failed(channel: Channel, { delivery }: Line, why: string): void {
    const { name } = channel.settings
    channel.failedInARow += 1
    channel.lastError = why
    const pause = Math.min(FIRST_PAUSE_MS * PAUSE_FACTOR ** (channel.failedInARow - 1), PAUSE_MAX_MS)
    channel.notBefore = clock.monotonicMs() + pause
    log.warn({ channel: name, delivery: delivery.id, tries: delivery.tries + 1, reason: why }, 'an alert was not taken')
    outbox.settle(delivery.id, { state: 'raised', detail: why })
    if (channel.failedInARow < FAILING_AFTER) return
    sayFailing(
      channel,
      `${FAILING_AFTER} tries in a row failed, the last with: ${why}. They wait 24 h, critical ones 72 h.`,
    )
  }

  function sayFailing({ settings: { name } }: Channel, how: string): void {
    const text = `Alerts do not arrive through the channel ${name}: ${how} See \`hub alert test --channel ${name}\`.`
    alerts.raise(`${CHANNEL_FAILING}:${name}`, 'warning', text)
  }

  function giveUpOld(channel: Channel): void {
    const gone = outbox.giveUpOld(channel.settings.name)
    if (gone.length === 0) return
    for (const { alert } of gone) if (!outbox.isWaiting(alert)) alerts.settle(alert, 'given_up')
    const why = gone.at(-1)?.detail
    sayFailing(
      channel,
      `${gone.length} were given up; \`hub alert list --all\` shows them. The last failed with: ${why}.`,
    )
  }

  async function attempt(channel: Channel, line: Line): Promise<void> {
    channel.busy = true
    try {
      const isLinked = LINKED.has(channel.settings.kind) && line.delivery.event !== 'resolved'
      const link = isLinked ? linkOf(line.alert.cause) : undefined
      await send(channel, messageOf(line.delivery, line.alert, { ...facts(), link }))
      if (ending.signal.aborted) return
      outbox.settle(line.delivery.id, { state: 'sent' })
      alerts.settle(line.delivery.alert, 'sent')
      if (channels.includes(channel)) worked(channel)
    } catch (thrown) {
      // One that was taken out of the settings meanwhile has given up its lines, and nobody asks how it fares.
      if (!ending.signal.aborted && channels.includes(channel)) failed(channel, line, toHubError(thrown).reason)
    } finally {
      channel.busy = false
    }
    begin(channel)
  }

  function begin(channel: Channel): void {
    if (ending.signal.aborted || channel.busy || !channels.includes(channel)) return
    giveUpOld(channel)
    if (clock.monotonicMs() < channel.notBefore) return
    const line = outbox.next(channel.settings, isQuiet(settings, clock.wallMs()))
    if (line === undefined) return
    attempt(channel, line).catch((thrown) =>
      log.error(
        { channel: channel.settings.name, reason: toHubError(thrown).reason },
        'a delivery could not be written down',
      ),
    )
  }

  return {
    round() {
      for (const [name, count] of outbox.takeDropped()) {
        const text = `${count} alerts had no room in the outbox of the channel ${name}; only \`hub alert list\` shows them.`
        alerts.raise(`${OUTBOX_FULL}:${name}`, 'warning', text, FULL_LASTS_MS)
      }
      for (const channel of channels) begin(channel)
    },
    async test(only) {
      const chosen = channels.filter(({ settings: { name } }) => only === undefined || name === only)
      return Promise.all(
        chosen.map(async (channel): Promise<TestResult> => {
          const { name, kind } = channel.settings
          const begunAt = clock.monotonicMs()
          const tookMs = () => Math.round(clock.monotonicMs() - begunAt)
          try {
            const answer = await send(channel, testMessage(newUuid(random, clock.wallMs()), facts()))
            if (!ending.signal.aborted) worked(channel)
            return { channel: name, kind, ok: true, answer: answer.slice(0, ANSWER_MAX), tookMs: tookMs() }
          } catch (thrown) {
            const answer = toHubError(thrown).reason.slice(0, ANSWER_MAX)
            return { channel: name, kind, ok: false, answer, tookMs: tookMs() }
          }
        }),
      )
    },
    states: () =>
      channels.map(({ settings: { name, kind }, failedInARow, lastError, takenAtMs }) => ({
        channel: name,
        kind,
        waiting: outbox.waitingFor(name),
        failedInARow,
        lastError,
        takenAtMs,
      })),
    channelsChanged() {
      channels = build(channels)
      endOfGone()
    },
    stop: () => ending.abort(),
  }
}
