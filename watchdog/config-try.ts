/**
 * Tries the operator's channels of a configuration before it is saved: `node watchdog/config-try.ts --home DIR`, on stdin one JSON text
 * `{text, secrets}`: the file, and secrets that are not in the home yet. Sends a test through each and writes nothing. Answers one line of JSON.
 */
import path from 'node:path'
import { createSystemClock } from './base/clock.ts'
import type { PersonChannel } from './config/channels.ts'
import { judgeText } from './config/file.ts'
import { createSecretOf, type SecretOf } from './config/secrets.ts'
import { createAlertTest } from './tell/alert-test.ts'
import { createOpenPost } from './tell/channels/open.ts'
import { createOutward, resolveHost } from './tell/channels/outward.ts'

const [flag, home = ''] = process.argv.slice(2)
if (flag !== '--home') {
  process.stderr.write('usage: node watchdog/config-try.ts --home DIR < {text, secrets}\n')
  process.exitCode = 2
} else {
  const pieces: Buffer[] = []
  for await (const piece of process.stdin) pieces.push(piece as Buffer)
  const given = JSON.parse(Buffer.concat(pieces).toString('utf8')) as { text: string; secrets: Record<string, string> }
  const { config } = await judgeText(given.text)
  if (config === undefined) throw new Error('the file has a fault; run: hub config check')
  const clock = createSystemClock()
  const stored = createSecretOf(path.join(path.resolve(home), 'secrets'), {})
  const secretOf: SecretOf = (secret) =>
    'file' in secret && Object.hasOwn(given.secrets, secret.file) ? (given.secrets[secret.file] ?? '') : stored(secret)
  const outward = createOutward({ clock, resolve: resolveHost })
  const openPost = createOpenPost({ clock, outward, env: {}, secretOf })
  const people = config.channels.filter((channel): channel is PersonChannel => channel.kind !== 'file')
  const operator = people.map((channel) => ({ key: channel.kind, post: openPost(channel) }))
  const test = createAlertTest({ instance: 'setup', config }, { clock, operator, contact: [] })
  const said = await test({ who: 'operator', kind: 'test', code: '' })
  const channels =
    typeof said === 'string' ? [] : said.channels.map(({ channel, ok, why }) => ({ channel, ok, answer: why }))
  process.stdout.write(`${JSON.stringify({ channels })}\n`)
  process.exit(0)
}
