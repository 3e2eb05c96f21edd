/** What sends by each channel of the settings. */
import type { Clock } from '../../../base/clock.ts'
import { createPostOutward } from '../../outward/post.ts'
import type { Send } from '../message.ts'
import { type AlertSettings, type ChannelSettings, channelsOf } from '../settings.ts'
import { createCommand } from './command.ts'
import { createEmail } from './email.ts'
import { createFile } from './file.ts'
import { createPush } from './push.ts'
import { createWebhook } from './webhook.ts'

/** By name. `secretOf` reads a secret by its name when a message is sent, and throws if there is none. */
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
