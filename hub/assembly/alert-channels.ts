/** Builds the channels that carry alerts, and the loop's round over them. */
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import { createCommand } from '../guard/alerts/channels/command.ts'
import { createEmail } from '../guard/alerts/channels/email.ts'
import { createFile } from '../guard/alerts/channels/file.ts'
import { createPush } from '../guard/alerts/channels/push.ts'
import { createWebhook } from '../guard/alerts/channels/webhook.ts'
import { createDelivery } from '../guard/alerts/delivery.ts'
import type { Send } from '../guard/alerts/message.ts'
import { type AlertSettings, type ChannelSettings, channelsOf } from '../guard/alerts/settings.ts'
import { createPostOutward } from '../guard/outward/post.ts'
import type { Guard } from './guard.ts'

/** What sends by each channel of the settings, by name. */
export function createSends(
  settings: AlertSettings,
  parts: { home: string; clock: Clock; secretOf: (name: string) => string },
): Map<string, Send> {
  const { home, clock, secretOf } = parts
  const sending = { post: createPostOutward({ clock }), secretOf, wallMs: clock.wallMs }
  const sendOf = (channel: ChannelSettings): Send => {
    if (channel.kind === 'email') return createEmail(channel, secretOf)
    if (channel.kind === 'webhook') return createWebhook(channel, sending)
    if (channel.kind === 'push') return createPush(channel, sending)
    return channel.kind === 'command' ? createCommand(channel, { clock }) : createFile(channel, home)
  }
  return new Map(channelsOf(settings).map((channel) => [channel.name, sendOf(channel)]))
}

/** The channels of the settings; `secretOf` reads a secret by its name when a message is sent, and throws where there is none. */
export function createAlertDelivery(
  options: { settings: AlertSettings; home: string; instance: string },
  parts: { guard: Guard; clock: Clock; random: Random; log: Log; secretOf: (name: string) => string },
) {
  const { settings, home, instance } = options
  const { guard, clock, random, log, secretOf } = parts
  const sends = createSends(settings, { home, clock, secretOf })
  const facts = () => ({
    nowMs: clock.wallMs(),
    zone: settings.zone,
    instance,
    mode: guard.modes.current(),
    audit: guard.audit.head(),
  })
  const { alerts, alertWatch, outbox } = guard
  if (settings.channels === undefined)
    log.warn('no alert channel is configured: alerts stand in logs/alerts.log, where nobody is told; see `hub doctor`')
  const delivery = createDelivery({ settings }, { alerts, outbox, sends, facts, clock, random, log })
  return {
    ...delivery,
    /** Looks, writes what waits unwritten, and begins what is due. */
    round() {
      alertWatch.tick()
      alerts.tick()
      delivery.round()
    },
  }
}
export type AlertDelivery = ReturnType<typeof createAlertDelivery>
