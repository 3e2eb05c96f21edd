/** A push in the manner of ntfy: the text is the body; title, priority and tags are headers. */
import { destinationOf, hostOf, type PushChannel } from '../../config/channels.ts'
import type { SecretOf } from '../../config/secrets.ts'
import { headerText, type Letter, type Post } from './letter.ts'
import type { Outward } from './outward.ts'

const DEADLINE_MS = 5_000
const TITLE_CHARS_MAX = 200
/** ntfy turns longer messages into attachments. */
const TEXT_CHARS_MAX = 3_500
const PRIORITY = { info: '2', warning: '4', critical: '5' } as const
const TAGS = { info: 'information_source', warning: 'warning', critical: 'rotating_light' } as const

/** Headers carry ASCII only; what is beyond goes as an encoded word (RFC 2047), which ntfy reads. */
function titleOf(subject: string): string {
  const plain = headerText(subject).slice(0, TITLE_CHARS_MAX)
  return /^[\x20-\x7e]*$/.test(plain) ? plain : `=?UTF-8?B?${Buffer.from(plain, 'utf8').toString('base64')}?=`
}

/** Headers and body of one letter. Pure. */
function pushOf(letter: Letter): { headers: Record<string, string>; body: string } {
  const headers = {
    title: titleOf(letter.subject),
    priority: PRIORITY[letter.severity],
    tags: TAGS[letter.severity],
    'content-type': 'text/plain; charset=utf-8',
    'user-agent': 'hub-watchdog',
    'hub-delivery': headerText(letter.id),
  }
  return { headers, body: letter.text.slice(0, TEXT_CHARS_MAX) }
}

export function createPush(channel: PushChannel, parts: { outward: Outward; secretOf: SecretOf }): Post {
  return {
    label: channel.name === '' ? `push to ${hostOf(channel)}` : channel.name,
    kind: 'push',
    loud: true,
    deadlineMs: DEADLINE_MS,
    async deliver(letter) {
      const { headers, body } = pushOf(letter)
      const token = channel.token === null ? null : parts.secretOf(channel.token)
      const bearer: Record<string, string> = token === null ? {} : { authorization: `Bearer ${headerText(token)}` }
      await parts.outward({
        ...destinationOf(channel, parts.secretOf),
        method: 'POST',
        headers: { ...headers, ...bearer },
        body,
        deadlineMs: DEADLINE_MS,
      })
    },
  }
}
