/**
 * Alerts: what is told, once per cause, and through which channels (safety.md section 7).
 * A1 raised when a finding appears, told again only when its level rises, resolved once when it is gone; open ones persist in the state.
 * A2 the alert file is written and synced before the state says "told": after a crash an alert may stand twice, never not at all.
 * A3 no channel delays a round: mail goes beside it, is tried again with growing pauses, and its failing is itself a finding.
 */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import type { Clock } from './clock.ts'
import type { Config } from './config.ts'
import type { Channel } from './config-channels.ts'
import type { Finding } from './findings.ts'
import type { State } from './state.ts'
import { instantText } from './wording.ts'

export interface AlertEvent {
  /** `notice`: said once, never resolved. */
  readonly event: 'raised' | 'louder' | 'resolved' | 'notice'
  readonly finding: string
  readonly level: number
  readonly severity: 'warning' | 'critical'
  readonly contact: boolean
  readonly text: string
}

/** Findings whose end the contact hears of, because they heard of the beginning. */
const CONTACT_HEARS = new Set(['heartbeat_missed', 'unattended_stop', 'away'])

/** What must be told, given the open alerts and the findings of now (A1). Pure. */
export function planAlerts(open: State['alerts'], findings: readonly Finding[], lineMs: number) {
  const events: AlertEvent[] = []
  const alerts: Record<string, { level: number; sinceMs: number }> = {}
  for (const { id, ...finding } of findings) {
    const known = open[id]
    if (known === undefined) events.push({ event: 'raised', finding: id, ...finding })
    else if (finding.level > known.level) events.push({ event: 'louder', finding: id, ...finding })
    alerts[id] = { level: finding.level, sinceMs: known?.sinceMs ?? lineMs }
  }
  for (const [id, known] of Object.entries(open)) {
    if (alerts[id] !== undefined) continue
    const text = `Resolved: ${id.replaceAll('_', ' ')}.`
    const { level } = known
    events.push({
      event: 'resolved',
      finding: id,
      level,
      severity: 'warning',
      contact: CONTACT_HEARS.has(id),
      text,
    })
  }
  return { alerts, events }
}

export interface Letter {
  readonly subject: string
  readonly text: string
}
/** Delivers one letter; rejects when the channel did not take it. */
export type SendLetter = (channel: Extract<Channel, { kind: 'email' }>, letter: Letter) => Promise<void>

export interface Alerts {
  /** Writes the file channel (throws if the disk refused it) and starts the other deliveries. */
  tell(events: readonly AlertEvent[]): void
  /** Channels that do not deliver, as findings of this process. */
  failing(): readonly (readonly [string, string])[]
  /** Resolves when nothing is under way; for tests and the exit. */
  settled(): Promise<void>
}

const TRIES_MAX = 6
const QUEUE_MAX = 100
const FIRST_PAUSE_MS = 5_000

/** The channels of one home. */
export function createAlerts(
  options: { file: string; instance: string; config: Pick<Config, 'channels' | 'zone'> },
  parts: { clock: Clock; send: SendLetter },
): Alerts {
  const mails = options.config.channels.filter((channel) => channel.kind === 'email')
  const refused = new Map<number, string>()
  const underWay = new Set<Promise<void>>()

  function append(events: readonly AlertEvent[]): void {
    const { wallMs } = parts.clock.read()
    const when = instantText(wallMs, wallMs, options.config.zone).replace(/ \(.*/, '')
    const lines = events.map((event) => JSON.stringify({ wallMs, when, instance: options.instance, ...event }))
    const fd = openSync(options.file, 'a', 0o600)
    try {
      writeSync(fd, `${lines.join('\n')}\n`)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
  }

  async function deliver(index: number, letter: Letter): Promise<void> {
    const channel = mails[index]
    if (channel === undefined) return
    for (let pauseMs = FIRST_PAUSE_MS, tries = 1; ; pauseMs *= 4, tries += 1) {
      try {
        await parts.send(channel, letter)
        refused.delete(index)
        return
      } catch (error) {
        refused.set(index, `${channel.kind} through ${channel.host}: ${(error as Error).message.slice(0, 200)}`)
      }
      if (tries === TRIES_MAX) return
      await new Promise<void>((resolve) => void parts.clock.after(pauseMs, resolve))
    }
  }

  function start(index: number, letter: Letter): void {
    if (underWay.size >= QUEUE_MAX) {
      refused.set(index, `more than ${QUEUE_MAX} messages are waiting`)
      return
    }
    const job = deliver(index, letter).finally(() => underWay.delete(job))
    underWay.add(job)
  }

  return {
    tell(events) {
      if (events.length === 0) return
      try {
        append(events)
      } finally {
        // A full disk must not also silence the mail.
        const worst = events.some((event) => event.severity === 'critical') ? 'critical' : 'warning'
        const names = [...new Set(events.map((event) => event.finding.replaceAll('_', ' ')))].join(', ')
        const { wallMs } = parts.clock.read()
        const lines = events.map((event) => `${event.event}: ${event.text}`)
        const text = `${instantText(wallMs, wallMs, options.config.zone).replace(/ \(.*/, '')}\n\n${lines.join('\n\n')}\n\nInstance ${options.instance}\n`
        for (const index of mails.keys())
          start(index, { subject: `hub watchdog, ${worst}: ${names}`.slice(0, 200), text })
      }
    },
    failing: () =>
      refused.size === 0 ? [] : [['channel_failing', `Alerts do not arrive: ${[...refused.values()].join('; ')}`]],
    async settled() {
      await Promise.allSettled([...underWay])
    },
  }
}
