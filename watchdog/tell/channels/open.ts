/** Builds the channels of the configuration. */
import type { Clock } from '../../base/clock.ts'
import type { PersonChannel } from '../../config/channels.ts'
import type { SecretOf } from '../../config/secrets.ts'
import { createCommand } from './command.ts'
import { createEmail } from './email.ts'
import type { Post } from './letter.ts'
import type { Outward } from './outward.ts'
import { createPush } from './push.ts'
import { createWebhook } from './webhook.ts'

export interface PostParts {
  readonly clock: Clock
  readonly outward: Outward
  /** For commands, which get only the variables that are named for them. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly secretOf: SecretOf
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
