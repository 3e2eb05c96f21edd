/**
 * A webhook for the audit log: each batch is one POST of CloudEvents (batched JSON), signed by the scheme of Standard Webhooks. Its id is that of its last
 * record, so a receiver can drop what comes twice.
 */
import { toHubError } from '../../../base/errors.ts'
import { destinationOf, requireTaken, type SendingParts, signatureOf } from '../../alerts/channels/webhook.ts'
import type { Sink } from '../batch.ts'
import { tooMuchError } from '../batch-size.ts'
import type { Target } from '../settings.ts'

export function createWebhookSink(target: Target<'webhook'>, { post, secretOf, wallMs }: SendingParts): Sink {
  return async ({ entries }, signal) => {
    const body = `[${entries.flatMap(({ lines }) => lines).join(',')}]`
    const id = entries.at(-1)?.record.hash ?? ''
    const seconds = Math.floor(wallMs() / 1000)
    const signed =
      target.secretFrom === undefined
        ? {}
        : { 'webhook-signature': signatureOf(secretOf(target.secretFrom), id, seconds, body) }
    const headers = {
      'content-type': 'application/cloudevents-batch+json',
      'user-agent': 'hub',
      'webhook-id': id,
      'webhook-timestamp': String(seconds),
      ...signed,
    }
    const answer = await post({ ...destinationOf(target, secretOf), headers, body }, signal).catch((thrown) => {
      const { message, facts } = toHubError(thrown)
      throw facts.isCutShort === true ? tooMuchError('time', message) : thrown
    })
    if (answer.status === 413) throw tooMuchError('size', 'it answered 413: this is too large for it')
    requireTaken(answer)
  }
}
