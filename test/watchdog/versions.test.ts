/** Fault F18: HTTP/0.9 and 2.0 say other things than 1.1, and the parser takes them: no door of the watchdog does, nor the last stop. */
import { randomBytes } from 'node:crypto'
import type { NetConnectOpts } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { createLastStop } from '../../watchdog/last-stop.ts'
import { freePort } from '../support/free-port.ts'
import { talk } from '../support/raw-wire.ts'
import { cardOf, scene, WORDS } from '../support/stop-scene.ts'
import { createSteerableClock, makeHome } from '../support/watchdog-home.ts'

const QUIET_MS = 250
const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

/** Each door with a path that it answers. */
async function doors() {
  const s = await scene()
  closers.push(s.close)
  await s.contact({ action: 'set', ...cardOf(WORDS) })
  const last = await freePort()
  const home = makeHome()
  const server = await createLastStop(
    { home: home.home, port: last },
    {
      clock: { ...createSteerableClock(), after: () => () => undefined },
      log: { warn: () => undefined },
      random: randomBytes,
      onIdle: () => undefined,
    },
  )
  await new Promise<void>((resolve) => server.listen(last, '127.0.0.1', resolve))
  closers.push(
    () => server.close(),
    () => home.remove(),
  )
  const at: Record<string, [NetConnectOpts, string]> = {
    port: [{ host: '127.0.0.1', port: s.port }, '/healthz'],
    'stop page': [{ host: '127.0.0.1', port: s.port }, '/stop'],
    socket: [{ path: s.paths.socket }, '/v1/status'],
    'last stop': [{ host: '127.0.0.1', port: last }, '/stop'],
  }
  return { at, stops: s.stops, hostOf: (where: NetConnectOpts) => `127.0.0.1:${'port' in where ? where.port : 0}` }
}

test('every door answers 1.1 and 1.0, and refuses what is of another version or of none', async () => {
  const { at, hostOf, stops } = await doors()
  for (const [name, [where, path]] of Object.entries(at)) {
    const ask = async (line: string) => {
      const { statuses } = await talk(where, `${line}\r\nHost: ${hostOf(where)}\r\nContent-Length: 0\r\n\r\n`, QUIET_MS)
      return statuses
    }
    for (const version of [' HTTP/1.1', ' HTTP/1.0']) expect(await ask(`GET ${path}${version}`), name).toEqual([200])
    for (const version of ['', ' HTTP/0.9', ' HTTP/2.0'])
      for (const method of ['GET', 'POST']) {
        const statuses = await ask(`${method} ${path}${version}`)
        expect(statuses, `${name}: ${method}${version}`).toHaveLength(1)
        expect([400, 404], `${name}: ${method}${version}`).toContain(statuses[0])
      }
  }
  expect(stops).toEqual([])
})
