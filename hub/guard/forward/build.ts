/** Builds the forwarding of the audit log from its settings. */

import type { SendingParts } from '../alerts/channels/webhook.ts'
import { createPostOutward } from '../outward/post.ts'
import type { Sink } from './batch.ts'
import { createForwarder, type Forwarder } from './forwarder.ts'
import type { TargetSettings } from './settings.ts'
import { createFileSink } from './sinks/file.ts'
import { createSyslogSink } from './sinks/syslog.ts'
import { createWebhookSink } from './sinks/webhook.ts'

/** `secretOf` reads a secret by its name when something is sent, and throws if there is none. */
export function createForwarding(
  { targets, home }: { targets: readonly TargetSettings[]; home: string },
  parts: Parameters<typeof createForwarder>[1] & Pick<SendingParts, 'secretOf'>,
): Forwarder {
  const { clock, secretOf } = parts
  const sending = { post: createPostOutward({ clock }), secretOf, wallMs: clock.wallMs }
  const sinkOf = (settings: TargetSettings): Sink => {
    if (settings.kind === 'file') return createFileSink(settings, home)
    return settings.kind === 'syslog' ? createSyslogSink(settings, { clock }) : createWebhookSink(settings, sending)
  }
  return createForwarder(
    targets.map((settings) => ({ settings, sink: sinkOf(settings) })),
    parts,
  )
}
