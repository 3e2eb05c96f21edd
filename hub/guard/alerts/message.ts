/** What a channel is handed, and how it reads: one alert, one event, every instant with weekday, date, zone and distance. Pure. */
import { countOf } from '../../base/shown-text.ts'
import type { Alert, Delivery, Severity } from './kinds.ts'
import { kindOf } from './kinds.ts'
import { dateText, instantText } from './wording.ts'

export interface Message {
  /** Of the delivery: a receiver that saw it may drop the repeat. */
  readonly id: string
  readonly alert: string
  readonly cause: string
  readonly event: Delivery['event'] | 'test'
  readonly severity: Severity
  readonly raisedAtMs: number
  readonly atMs: number
  /** That instant for a person. */
  readonly when: string
  readonly instance: string
  /** One line of plain ASCII that no agent has written. */
  readonly subject: string
  /** What happened, as it was raised. */
  readonly text: string
  /** The whole letter. */
  readonly body: string
}
/** Sends one message; answers what the other side said, rejects when it did not take it. */
export type Send = (message: Message, signal: AbortSignal) => Promise<string>

export interface MessageFacts {
  nowMs: number
  zone: string
  instance: string
  mode: string
  audit: { size: number; head: string }
  /** A page that answers what this is about, once; absent where there is nothing to answer or no page. */
  link?: string | undefined
}

/** The part of a cause that may be in a subject line: its kind, and a subject that cannot be somebody's sentence. */
function causeWords(cause: string): string {
  const kind = kindOf(cause)
  const subject = cause.slice(kind.length + 1)
  // The id means nothing to the reader; the text does.
  if (kind === 'question') return 'question of an agent'
  if (kind === 'approval') return 'a rule asks you'
  const words = /^[a-z\d_]{1,60}$/.test(kind) ? kind.replaceAll('_', ' ') : 'something'
  return /^[\w.@-]{1,64}$/.test(subject) ? `${words} ${subject}` : words
}

const OPENINGS = { raised: 'since', louder: 'more serious since', resolved: 'was raised' } as const

export function messageOf(
  delivery: Pick<Delivery, 'id' | 'event' | 'text' | 'createdAtMs' | 'severity'>,
  alert: Alert,
  facts: MessageFacts,
): Message {
  const { event, text, createdAtMs } = delivery
  const when = (atMs: number) => instantText(atMs, facts.nowMs, facts.zone)
  const name = causeWords(alert.cause)
  const status = event === 'resolved' ? 'resolved' : alert.severity
  const lines = [
    text,
    ...(facts.link === undefined ? [] : ['', `Answer on a page, once (opening it does nothing): ${facts.link}`]),
    '',
    `${OPENINGS[event]}: ${when(event === 'louder' ? createdAtMs : alert.raisedAtMs)}`,
    ...(event === 'resolved' ? [`over: ${when(createdAtMs)}`] : []),
    `severity: ${alert.severity}`,
    `cause: ${alert.cause}`,
    `mode of the hub now: ${facts.mode}`,
    ...(alert.holds && event !== 'resolved'
      ? [`It keeps the hub in safe mode until you run: hub resume --alert ${alert.id}`]
      : []),
    'More: hub alert list, hub status',
    '',
    `sent: ${when(facts.nowMs)}`,
    `alert ${alert.id}, delivery ${delivery.id}`,
    ...auditLines(facts),
    `instance ${facts.instance}`,
  ]
  return {
    id: delivery.id,
    alert: alert.id,
    cause: alert.cause,
    event,
    severity: alert.severity,
    raisedAtMs: alert.raisedAtMs,
    atMs: createdAtMs,
    when: dateText(createdAtMs, facts.zone),
    instance: facts.instance,
    subject: `[hub] ${status}: ${name}`,
    text,
    body: `${lines.join('\n')}\n`,
  }
}

/** None while there is no log yet, as in `hub setup`. */
function auditLines({ audit: { size, head } }: MessageFacts): string[] {
  return head === '' ? [] : [`audit log: ${countOf(size, 'record')}, head ${head}`]
}

/** What `hub alert test` sends: nothing has happened. */
export function testMessage(id: string, facts: MessageFacts): Message {
  const text = 'This is a test of an alert channel. Nothing has happened; there is nothing to do.'
  const lines = [
    text,
    '',
    `sent: ${instantText(facts.nowMs, facts.nowMs, facts.zone)}`,
    `delivery ${id}`,
    ...auditLines(facts),
    `instance ${facts.instance}`,
  ]
  return {
    id,
    alert: id,
    cause: 'test',
    event: 'test',
    severity: 'info',
    raisedAtMs: facts.nowMs,
    atMs: facts.nowMs,
    when: dateText(facts.nowMs, facts.zone),
    instance: facts.instance,
    subject: '[hub] test: nothing has happened',
    text,
    body: `${lines.join('\n')}\n`,
  }
}
