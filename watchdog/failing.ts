/** What alerting itself fails at, as findings: silence must be seen (threats.md T98). Pure. */
import type { ChannelState } from './delivery.ts'

/** One failure may be a moment's; two in a row are told through the other channels. */
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
    found.push(['channel_failing', `Alerts do not arrive: ${each.join('. ')}. Then run: hub alert test`])
  }
  const lost = channels.filter((one) => one.lost > 0)
  if (lost.length > 0) {
    const each = lost.map((one) => `${name(one)}: ${one.lost}`)
    found.push(['messages_lost', `Messages were given up undelivered. ${each.join('. ')}. They stand in alerts.log`])
  }
  const contact = channels.filter((one) => one.key.startsWith('contact/'))
  if (facts.noticesWait && contact.length > 0 && contact.every((one) => one.failures >= FAILURES_MIN)) {
    found.push([
      'contact_unreachable',
      `${facts.contact} could not be told: no channel takes the message. Tell them yourself; then mend the channels`,
    ])
  }
  if (facts.outboxFault !== null) {
    found.push(['outbox_failing', `Waiting messages cannot be kept on disk: ${facts.outboxFault}. Free space`])
  }
  if (facts.outboxDamage !== null) found.push(['outbox_damaged', `The outbox: ${facts.outboxDamage}.`])
  return found
}
