/** Which names and origins lead to the loopback listener, and how far (T33, T34). */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { silentLog } from '../../../../hub/base/telemetry.ts'
import { readConfig } from '../../../../hub/config.ts'
import { createLoopbackHttp } from '../../../../hub/edge/people/loopback.ts'
import { createFakeClock } from '../../../support/fake-clock.ts'
import { send } from '../../../support/plain-http.ts'

const folder = mkdtempSync(join(tmpdir(), 'lo-'))
afterAll(() => rmSync(folder, { recursive: true }))
const reachOf = (reach: unknown) => {
  const file = join(folder, 'hub.yaml')
  writeFileSync(file, JSON.stringify({ reach }))
  return readConfig(file).reach
}

let port = 0
const app = createLoopbackHttp(() => port, {
  clock: createFakeClock(),
  log: silentLog(),
  healthz: () => ({ status: 200, body: {} }),
  reach: reachOf({ publicUrl: 'https://Hub.example.net/', hosts: ['10.1.2.3:7300'] }),
  plugins: [
    { path: '/open', mount: (own) => void own.get('/open', () => ({ here: true })) },
    {
      path: '/plugin',
      isOriginHidden: true,
      mount(own) {
        for (const url of ['/plugin', '/plugin/*', '/plugins']) own.get(url, () => ({ here: true }))
      },
    },
  ],
})
beforeAll(async () => {
  await app.listen({ host: '127.0.0.1', port: 0 })
  port = (app.server.address() as { port: number }).port
})
afterAll(() => app.close())
const status = async (url: string, host: string, headers = {}) =>
  (await send(port, { path: url, headers: { host, ...headers } })).status

it("T33: this machine's names lead everywhere, those of reach only into plugins, and no other anywhere", async () => {
  const own = [`127.0.0.1:${port}`, `localhost:${port}`]
  const outside = ['hub.example.net', '10.1.2.3:7300']
  const foreign = [
    '',
    'localhost',
    '127.0.0.1:1',
    'hub.example.net:7300',
    'evil.example',
    'hub.example.net.evil.example',
  ]
  for (const host of [...own, ...outside])
    for (const url of ['/plugin', '/plugin/x', '/plugin?y']) expect(await status(url, host), host).toBe(200)
  for (const host of own) expect(await status('/healthz', host)).toBe(200)
  for (const host of outside)
    for (const url of ['/healthz', '/plugins', '/', '/v1/tasks']) expect(await status(url, host), url).toBe(403)
  for (const host of foreign) for (const url of ['/healthz', '/plugin']) expect(await status(url, host), host).toBe(403)
})

it('T33: pages of other origins are served nowhere, and only plugins are reached from a page at all', async () => {
  const host = `127.0.0.1:${port}`
  for (const origin of [
    `http://127.0.0.1:${port}`,
    `http://localhost:${port}`,
    'https://hub.example.net',
    'https://10.1.2.3:7300',
    'null',
  ]) {
    expect(await status('/plugin', host, { origin }), origin).toBe(200)
    expect(await status('/healthz', host, { origin }), origin).toBe(403)
    expect(await status('/open', host, { origin }), origin).toBe(origin === 'null' ? 403 : 200)
  }
  for (const origin of [
    'https://evil.example',
    'http://hub.example.net',
    'https://hub.example.net:7300',
    'http://localhost',
    '',
  ])
    expect(await status('/plugin', host, { origin }), origin).toBe(403)
})

it.each([
  { publicUrl: 'ftp://hub.example.net' },
  { publicUrl: 'https://hub.example.net/path' },
  { publicUrl: 'https://name:word@hub.example.net' },
  { publicUrl: 'https://hub.example.net/?x' },
  { hosts: ['https://hub.example.net'] },
  { hosts: ['a b'] },
  { trustedProxy: 'yes' },
  { publicUrI: 'https://hub.example.net' },
])('a reach that leads nowhere stops the start: %j', (reach) => {
  expect(() => reachOf(reach)).toThrow(/reach/)
})
