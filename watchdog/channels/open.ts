/** Builds the channels of the configuration. */
import type { Clock } from '../clock.ts'
import type { PersonChannel } from '../config-channels.ts'
import { createCommand } from './command.ts'
import { createEmail } from './email.ts'
import type { Post } from './letter.ts'
import type { Outward } from './outward.ts'
import { createPush } from './push.ts'
import { createWebhook } from './webhook.ts'

export interface PostParts {
  readonly clock: Clock
  readonly outward: Outward
  readonly env: Readonly<Record<string, string | undefined>>
}

export type OpenPost = (channel: PersonChannel) => Post

export function createOpenPost(parts: PostParts): OpenPost {
  return (channel) => {
    if (channel.kind === 'email') return createEmail(channel, parts)
    if (channel.kind === 'webhook') return createWebhook(channel, parts)
    if (channel.kind === 'push') return createPush(channel, parts)
    return createCommand(channel, parts)
  }
}
