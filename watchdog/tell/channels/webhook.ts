/**
 * The webhook: Alertmanager's version 4 body, signed after Standard Webhooks, as the hub's own: HMAC-SHA256 in base64 over
 * `id.timestamp.body`, so that a receiver can refuse forged and old ones and drop repeats.
 */
import { createHmac } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { destinationOf, hostOf, type WebhookChannel } from '../../config/channels.ts'
import type { SecretOf } from '../../config/secrets.ts'
import { headerText, type Letter, type Post } from './letter.ts'
import type { Outward } from './outward.ts'

const DEADLINE_MS = 5_000
/** Alertmanager writes this for an alert that has not ended. */
const NOT_ENDED = '0001-01-01T00:00:00Z'

const instant = (wallMs: number): string => new Date(wallMs).toISOString()

/** The body of one letter. Pure. */
function webhookBody(letter: Letter, receiver: string): string {
  const status = letter.alerts.some((one) => one.status === 'firing') ? 'firing' : 'resolved'
  const labels = { instance: letter.instance, source: 'hub-watchdog' }
  const alerts = letter.alerts.map((one) => ({
    status: one.status,
    labels: { ...labels, alertname: one.name, severity: one.severity },
    annotations: { summary: one.name.replaceAll('_', ' '), description: one.text },
    startsAt: instant(one.startsAtMs),
    endsAt: one.endsAtMs === null ? NOT_ENDED : instant(one.endsAtMs),
    generatorURL: '',
    fingerprint: one.fingerprint,
  }))
  return JSON.stringify({
    version: '4',
    groupKey: `hub-watchdog:${letter.instance}`,
    truncatedAlerts: 0,
    status,
    receiver,
    groupLabels: {},
    commonLabels: labels,
    commonAnnotations: { summary: letter.subject },
    externalURL: '',
    alerts,
    // For chats.
    text: `${letter.subject}\n${letter.text}`,
  })
}

const SIGNED = 'whsec_'
const keyOf = (secret: string): Buffer =>
  secret.startsWith(SIGNED) ? Buffer.from(secret.slice(SIGNED.length), 'base64') : Buffer.from(secret)

/** `v1,` and the signature. */
const signatureOf = (secret: string, id: string, seconds: number, body: string): string =>
  `v1,${createHmac('sha256', keyOf(secret)).update(`${id}.${seconds}.${body}`).digest('base64')}`

export function createWebhook(
  channel: WebhookChannel,
  parts: { clock: Clock; outward: Outward; secretOf: SecretOf },
): Post {
  const host = hostOf(channel)
  return {
    label: channel.name === '' ? `webhook to ${host}` : channel.name,
    kind: 'webhook',
    loud: channel.loud,
    deadlineMs: DEADLINE_MS,
    async deliver(letter) {
      const body = webhookBody(letter, host)
      const seconds = Math.floor(parts.clock.read().wallMs / 1000)
      const id = headerText(letter.id)
      const headers = {
        'content-type': 'application/json',
        'user-agent': 'hub-watchdog',
        'webhook-id': id,
        'webhook-timestamp': String(seconds),
        ...(channel.secret === null
          ? {}
          : { 'webhook-signature': signatureOf(parts.secretOf(channel.secret), id, seconds, body) }),
      }
      const destination = destinationOf(channel, parts.secretOf)
      await parts.outward({ ...destination, method: 'POST', headers, body, deadlineMs: DEADLINE_MS })
    },
  }
}
