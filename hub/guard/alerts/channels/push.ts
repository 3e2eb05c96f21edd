/** Push to a phone, as ntfy takes it: text as body, the rest as headers. */
import type { Send } from '../message.ts'
import type { Settings } from '../settings.ts'
import { destinationOf, requireTaken, type SendingParts } from './webhook.ts'

/** ntfy cuts longer messages off into attachments. */
const BODY_BYTES_MAX = 3800
const PRIORITIES = { info: '2', warning: '3', critical: '5' } as const
const TAGS = { info: 'information_source', warning: 'warning', critical: 'rotating_light' } as const

export function createPush(channel: Settings<'push'>, { post, secretOf }: SendingParts): Send {
  return async (message, signal) => {
    const { event, severity } = message
    const isOver = event === 'resolved'
    const headers = {
      'content-type': 'text/plain; charset=utf-8',
      'user-agent': 'hub',
      title: message.subject,
      priority: PRIORITIES[isOver ? 'info' : severity],
      tags: isOver ? 'white_check_mark' : TAGS[severity],
      'hub-delivery': message.id,
      ...(channel.tokenFrom === undefined ? {} : { authorization: `Bearer ${secretOf(channel.tokenFrom).trim()}` }),
    }
    const body = Buffer.from(message.body).subarray(0, BODY_BYTES_MAX).toString('utf8')
    return requireTaken(await post({ ...destinationOf(channel, secretOf), headers, body }, signal))
  }
}
