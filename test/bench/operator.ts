/** What the operator waits for: `hub setup` by flags, over two processes, a mail server and a receiver; and `hub status`. The engine has nothing. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { httpSink, mailSink } from '../support/alert-sinks.ts'
import { openBareHome } from '../support/bare-home.ts'
import { newHome } from '../support/home-process.ts'
import type { Figure } from './run.ts'

const CLI = resolve(import.meta.dirname, '../../hub/client/cli.ts')
const STATUS_TIMES = 11

/** Milliseconds of one command, from its start to its end. @throws Error with what it said where it fails */
function timed(home: string, cache: string, words: readonly string[]): Promise<number> {
  const startedAt = performance.now()
  return new Promise((done, fail) => {
    const env = { ...process.env, NODE_COMPILE_CACHE: cache }
    const child = spawn(process.execPath, [CLI, '--home', home, ...words], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (piece) => {
        said += piece
      })
    child.on('close', (code) => (code === 0 ? done(performance.now() - startedAt) : fail(new Error(said))))
  })
}

export async function benchOperator(say: (line: string) => void): Promise<Figure[]> {
  const base = mkdtempSync('/tmp/op-')
  const [mail, sink] = [await mailSink(), await httpSink()]
  const bare = await openBareHome(base, newHome(join(base, 'template')))
  try {
    rmSync(join(bare.home, 'watchdog', 'config.json'))
    const own = { http: { port: bare.ports.watchdog }, engine: { socket: join(bare.home, 'engine.sock') } }
    writeFileSync(join(bare.home, 'watchdog', 'config.yaml'), JSON.stringify(own))
    const cache = join(base, 'cache')
    await timed(bare.home, cache, ['up'])
    say('setup by flags: mail and webhook, both tried by both processes, zone, heartbeat, contact, ping')
    const answers = [
      ...['--mail', 'me@example.org', '--mail-server', `127.0.0.1:${mail.port}`, '--webhook', `${sink.url}/in`],
      ...['--zone', 'Europe/Berlin', '--heartbeat', 'daily at 09:00', '--operator', 'Ada'],
      ...['--contact', 'Bo', '--contact-mail', 'bo@example.org', '--ping', `${sink.url}/ping`],
    ]
    const setupMs = await timed(bare.home, cache, ['setup', ...answers])
    const took: number[] = []
    for (let at = 0; at < STATUS_TIMES; at += 1) took.push(await timed(bare.home, cache, ['status']))
    const statusMs = took.toSorted((a, b) => a - b)[Math.floor(STATUS_TIMES / 2)] ?? 0
    const bareMs = Array.from({ length: STATUS_TIMES }, () => {
      const startedAt = performance.now()
      spawnSync(process.execPath, ['--eval', '0'])
      return performance.now() - startedAt
    }).toSorted((a, b) => a - b)[Math.floor(STATUS_TIMES / 2)]
    return [
      {
        key: 'setupMs',
        value: Math.round(setupMs),
        unit: 'ms',
        text: 'hub setup by flags, two channels, both processes restarted',
      },
      { key: 'statusMs', value: Math.round(statusMs), unit: 'ms', text: `hub status, the middle of ${STATUS_TIMES}` },
      { key: 'bareNodeMs', value: Math.round(bareMs ?? 0), unit: 'ms', text: 'an empty program of Node, likewise' },
    ]
  } finally {
    await timed(bare.home, join(base, 'cache'), ['down']).catch(() => undefined)
    bare.close()
    mail.close()
    sink.close()
    rmSync(base, { recursive: true, force: true, maxRetries: 5 })
  }
}
