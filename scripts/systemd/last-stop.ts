/**
 * Starts the stop that works with hub and watchdog both dead (watchdog/last-stop.ts): `node scripts/systemd/last-stop.ts --home DIR [--port N]`.
 * systemd passes it the socket of hub-stop.socket; without one it listens on 127.0.0.1:N itself. It ends after a minute without a request.
 */
import { randomBytes } from 'node:crypto'
import path from 'node:path'
import { createSystemClock } from '../../watchdog/base/clock.ts'
import { createLogSink } from '../../watchdog/base/log-sink.ts'
import { createLastStop } from '../../watchdog/last-stop.ts'

const PORT = 7302
/** The first descriptor that systemd hands over (sd_listen_fds(3)). */
const LISTEN_FD = 3

function readArguments(words: readonly string[]): { home: string; port: number } {
  let [home, port] = ['', PORT]
  for (let at = 0; at < words.length; at += 2) {
    const value = words[at + 1] ?? ''
    if (words[at] === '--home' && value !== '') home = path.resolve(value)
    else if (words[at] === '--port' && /^\d{1,5}$/.test(value)) port = Number(value)
    else throw new Error(`unknown argument ${words[at]}; usage: last-stop.ts --home DIR [--port N]`)
  }
  if (home === '') throw new Error('usage: last-stop.ts --home DIR [--port N]')
  return { home, port }
}

process.umask(0o077)
const clock = createSystemClock()
const line = (fields: object, text: string) => `${JSON.stringify({ part: 'last-stop', ...fields, msg: text })}\n`
const sink = createLogSink({ fd: 2, tellLost: (lost, why) => line({ lost, why }, 'lines were lost') }, { clock })
try {
  const { home, port } = readArguments(process.argv.slice(2))
  const log = { warn: (fields: object, text: string) => sink.write(line(fields, text)) }
  const onIdle = () => process.exit(0)
  const server = await createLastStop({ home, port }, { clock, log, random: randomBytes, onIdle })
  // Another program has the port, or another last-stop was quicker. `hub-stop` believes either only with its proof.
  server.on('error', (error) => {
    sink.write(line({ reason: error.message }, 'it cannot listen'))
    process.exit(1)
  })
  server.listen(process.env.LISTEN_FDS === '1' ? { fd: LISTEN_FD } : { host: '127.0.0.1', port })
} catch (error) {
  process.stderr.write(`last-stop: ${(error as Error).message}\n`)
  process.exit(1)
}
