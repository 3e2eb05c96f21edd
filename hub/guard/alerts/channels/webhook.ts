/**
 * Webhook: Alertmanager's version 4 as body (with `text` for chats), CloudEvents headers, signed after Standard Webhooks:
 * HMAC-SHA256 over `id.timestamp.body`, so that a receiver can refuse forged and old ones and drop repeats.
 */
import { createHmac } from 'node:crypto'
import { HubError } from '../../../base/errors.ts'
import type { OutwardAnswer, PostOutward } from '../../outward/post.ts'
import { hostPortOf, type Rules } from '../../outward/target.ts'
import type { Message, Send } from '../message.ts'
import type { Settings } from '../settings.ts'

export interface SendingParts {
  post: PostOutward
  secretOf: (name: string) => string
  wallMs: () => number
}

/** Where a sending channel leads: its own address is its allow-list, or the hosts listed beside a secret one. */
export function destinationOf(
  { url, urlFrom, hosts, local }: Pick<Settings<'webhook'>, 'url' | 'urlFrom' | 'hosts' | 'local'>,
  secretOf: (name: string) => string,
): { url: string; rules: Rules } {
  const text = url ?? secretOf(urlFrom ?? '').trim()
  const allow = new Set(url === undefined ? hosts : [...hosts, hostPortOf(new URL(url))])
  return { url: text, rules: { allow, local: new Set(local) } }
}

/** The status it answered; throws unless that is a success. Text from outside is not repeated, only the number. */
export function requireTaken({ status }: OutwardAnswer): string {
  if (status < 200 || status > 299) throw new HubError('timed_out', `it answered ${status}`)
  return `HTTP ${status}`
}

const SIGNED = 'whsec_'
const keyOf = (secret: string): Buffer =>
  secret.startsWith(SIGNED) ? Buffer.from(secret.slice(SIGNED.length), 'base64') : Buffer.from(secret)

/** `v1,` and the signature in base64. */
export const signatureOf = (secret: string, id: string, seconds: number, body: string): string =>
  `v1,${createHmac('sha256', keyOf(secret)).update(`${id}.${seconds}.${body}`).digest('base64')}`

const NEVER = '0001-01-01T00:00:00Z'
const iso = (ms: number): string => new Date(ms).toISOString()

/** The body, Alertmanager's shape. */
function webhookBody(message: Message, receiver: string): string {
  const resolved = message.event === 'resolved'
  const status = resolved ? 'resolved' : 'firing'
  const alertname = message.cause.split(':', 1)[0] ?? ''
  const labels = { alertname, cause: message.cause, severity: message.severity, instance: message.instance }
  const annotations = { summary: message.subject, description: message.text }
  return JSON.stringify({
    version: '4',
    groupKey: message.cause,
    truncatedAlerts: 0,
    status,
    receiver,
    groupLabels: { alertname },
    commonLabels: labels,
    commonAnnotations: annotations,
    externalURL: '',
    alerts: [
      {
        status,
        labels,
        annotations,
        startsAt: iso(message.raisedAtMs),
        endsAt: resolved ? iso(message.atMs) : NEVER,
        generatorURL: '',
        fingerprint: message.alert,
      },
    ],
    text: `${message.subject}\n${message.body}`,
  })
}

export function createWebhook(channel: Settings<'webhook'>, { post, secretOf, wallMs }: SendingParts): Send {
  return async (message, signal) => {
    const body = webhookBody(message, channel.name)
    const seconds = Math.floor(wallMs() / 1000)
    const signed =
      channel.secretFrom === undefined
        ? {}
        : { 'webhook-signature': signatureOf(secretOf(channel.secretFrom), message.id, seconds, body) }
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'hub',
      'webhook-id': message.id,
      'webhook-timestamp': String(seconds),
      ...signed,
      'ce-specversion': '1.0',
      'ce-id': message.id,
      'ce-source': `/hub/${encodeURIComponent(message.instance)}`,
      'ce-type': `hub.alert.${message.event === 'louder' ? 'raised' : message.event}.v1`,
      'ce-subject': `alert:${message.alert}`,
      'ce-time': iso(message.atMs),
    }
    return requireTaken(await post({ ...destinationOf(channel, secretOf), headers, body }, signal))
  }
}
