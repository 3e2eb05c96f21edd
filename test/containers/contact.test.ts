/** The backup contact with real processes and real containers: the hub dead, and the hub up (S1-31, S1-32). */

import { spawn } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ContainerHome, openContainerHome, until } from '../support/container-home.ts'
import { freePort } from '../support/free-port.ts'
import { press, send } from '../support/plain-http.ts'
import { load, spyImage } from '../support/spy-image.ts'

const SCRIPT = resolve(import.meta.dirname, '../../scripts/hub-stop')
const idle = {
  name: 'idle',
  description: 'Does nothing until it is stopped',
  image: 'hub-test/spy',
  run: ['node', '/app/test/support/images/spy/main.js'],
  limits: { ttl: '10m', memory: '128MiB' },
}
let home: ContainerHome
let ports: { hub: number; watchdog: number }
beforeAll(async () => {
  await load([spyImage()])
  ports = { hub: await freePort(), watchdog: await freePort() }
  home = await openContainerHome({
    cards: [idle],
    config: { http: { port: ports.hub } },
    watchdog: { port: ports.watchdog, stopGraceMs: 1000 },
  })
})
afterAll(() => home?.close())

const left = async () => (await home.engine.list(home.instance)).length
const hubStop = (card: string) =>
  new Promise<{ code: number | null; said: string }>((done, fail) => {
    const child = spawn(SCRIPT, ['--card', card, String(ports.watchdog), String(ports.hub)])
    let said = ''
    const take = (part: Buffer) => {
      said += part
    }
    for (const stream of [child.stdout, child.stderr]) stream.on('data', take)
    child.on('error', fail)
    child.on('close', (code) => done({ code, said }))
  })
async function mode(): Promise<{ mode: string; conditions: string[] }> {
  const { hub } = await home.json<{ hub: { mode: string; conditions: { name: string }[] } }>('status')
  return { mode: hub.mode, conditions: hub.conditions.map(({ name }) => name) }
}

test('S1-32: the card by the command; with the hub killed hub-stop stops every container by the watchdog; the stop holds until resume; with the hub up its own page stops [contact-4]', async () => {
  const card = join(home.home, 'card.html')
  const made = await home.json<{ words: string; watchdog: { told: boolean } }>(
    'contact',
    'card',
    '--name',
    'Bea',
    '--operator-name',
    'Ada',
    '--out',
    card,
  )
  expect(made.watchdog.told).toBe(true)
  expect(statSync(card).mode & 0o777).toBe(0o600)
  expect(readFileSync(card, 'utf8')).toContain(`data-words="${made.words}"`)

  await home.place('idle', { what: 'idle' })
  await home.place('idle', { what: 'idle' })
  expect(await left()).toBe(2)
  process.kill(home.hubPid, 'SIGKILL')
  const { code, said } = await hubStop(card)
  expect([code, said]).toEqual([0, expect.stringContaining('Everything has stopped. Nothing was deleted.')])
  expect(await left()).toBe(0)

  expect((await home.hub('up')).code).toBe(0)
  await until('the stop holds', mode, (now) => now.mode === 'safe' && now.conditions.includes('emergency_stop'))
  expect((await send(ports.hub, { path: `/stop/${made.words}` })).headers['hub-stop']).toBe('stopped 0 0')
  await home.hub('heartbeat')
  expect((await mode()).conditions).toContain('emergency_stop')
  expect((await home.hub('resume')).code).toBe(0)
  await until('normal mode', mode, (now) => now.mode === 'normal')

  await home.place('idle', { what: 'idle' })
  const said2 = await press(ports.hub, `/stop/${made.words}`)
  expect(said2.status).toBe(200)
  for (let word = String(said2.headers['hub-stop']); !word.startsWith('stopped'); await sleep(500)) {
    expect(word).toMatch(/^stopping/)
    word = String((await send(ports.hub, { path: `/stop/${made.words}` })).headers['hub-stop'])
  }
  expect(await left()).toBe(0)
  // The watchdog knows, and says so by itself once the hub has gone.
  const word = async () => String((await send(ports.watchdog, { path: `/stop/${made.words}` })).headers['hub-stop'])
  await until('the watchdog says so', word, (said3) => said3.startsWith('stopped'))
  const again = await hubStop(card)
  expect([again.code, again.said]).toEqual([0, expect.stringContaining('already stopped')])
})
