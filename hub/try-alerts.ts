/**
 * Tries alert channels before they are saved: `node hub/try-alerts.ts --home DIR`, on stdin one JSON text `{text, secrets, names}`: a
 * hub.yaml, secrets that are not in the home yet, and which channels. Sends a test through each and writes nothing. Answers one line of JSON.
 */
import { join, resolve } from 'node:path'
import { createSystemClock } from './base/clock.ts'
import { toHubError } from './base/errors.ts'
import { newUuid, systemRandom } from './base/random.ts'
import { createRedaction } from './base/redaction.ts'
import { hideSecrets } from './base/secret-shapes.ts'
import { judgeConfig } from './config.ts'
import { createSends } from './guard/alerts/channels/channels.ts'
import { type Send, testMessage } from './guard/alerts/message.ts'
import { createSecrets } from './work/sandbox/secrets.ts'

const TRY_MS = 12_000

const [flag, home = ''] = process.argv.slice(2)
if (flag !== '--home') {
  process.stderr.write('usage: node hub/try-alerts.ts --home DIR < {text, secrets, names}\n')
  process.exitCode = 2
} else {
  const pieces: Buffer[] = []
  for await (const piece of process.stdin) pieces.push(piece as Buffer)
  const given = JSON.parse(Buffer.concat(pieces).toString('utf8')) as {
    text: string
    secrets: Record<string, string>
    names: string[]
  }
  const clock = createSystemClock()
  const folder = join(resolve(home), 'secrets')
  const stored = createSecrets({ folder, uid: process.getuid?.() ?? 0, fromEnvironment: new Map() })
  /** What an answer of the other side might repeat. */
  const redaction = createRedaction()
  for (const [name, value] of Object.entries(given.secrets)) redaction.know(name, Buffer.from(value.trim()))
  const secretOf = (name: string) => {
    const value = Object.hasOwn(given.secrets, name) ? (given.secrets[name] ?? '') : stored.ofHub(name).toString('utf8')
    redaction.know(name, Buffer.from(value.trim()))
    return value
  }
  const { config } = judgeConfig(given.text)
  const sends = config === undefined ? new Map<string, Send>() : createSends(config.alerts, { home, clock, secretOf })
  const nowMs = clock.wallMs()
  const ending = new AbortController()
  clock.after(TRY_MS, () => ending.abort())
  const facts = {
    nowMs,
    zone: config?.alerts.zone ?? '',
    instance: 'setup',
    mode: 'setup',
    audit: { size: 0, head: '' },
  }
  const channels = await Promise.all(
    given.names.map(async (channel) => {
      const send = sends.get(channel)
      try {
        if (send === undefined) throw new Error('there is no such channel')
        const answer = await send(testMessage(newUuid(systemRandom, nowMs), facts), ending.signal)
        return { channel, ok: true, answer: hideSecrets(answer, redaction) }
      } catch (thrown) {
        return { channel, ok: false, answer: hideSecrets(toHubError(thrown).reason, redaction) }
      }
    }),
  )
  process.stdout.write(`${JSON.stringify({ channels })}\n`)
  process.exit(0)
}
