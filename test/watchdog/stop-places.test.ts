/** Somebody holds every connection of the watchdog's port or socket: the contact's page, `hub-stop` and the operator get through (T32, I6). */
import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { hold } from '../support/raw-wire.ts'
import { cardOf, scene, WORDS } from '../support/stop-scene.ts'

const HUB_STOP = resolve(import.meta.dirname, '../../scripts/hub-stop')
const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close()
})
const KINDS = {
  'half-open': '',
  'slow headers': 'GET /stop HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nX-Slow: ',
  'slow bodies': 'POST /stop HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 4000\r\n\r\nwords=',
}
/** Within seconds, or within so many times what it takes this machine now with nobody in the way. */
const SECONDS_MAX = 5
const TIMES_MAX = 40

async function opened() {
  const s = await scene()
  closers.push(s.close)
  await s.contact({ action: 'set', ...cardOf(WORDS) })
  return s
}
type Scene = Awaited<ReturnType<typeof scene>>

/** The press and then `hub-stop`, both of which must get through; answers how long they took. */
async function stopped(s: Scene): Promise<number> {
  const before = performance.now()
  const page = await s.press(`/stop/${WORDS}`)
  expect(page.headers['hub-stop']).toBe('stopping 0 12')
  s.finish()
  const child = spawn(HUB_STOP, ['--card', '-', String(s.port)], { stdio: ['pipe', 'pipe', 'ignore'] })
  let said = ''
  child.stdout.on('data', (part: Buffer) => {
    said += part
  })
  child.stdin.end(WORDS)
  const code = await new Promise((done) => child.once('close', done))
  expect([code, said]).toEqual([0, expect.stringContaining('has stopped')])
  expect(s.stops).toHaveLength(1)
  return performance.now() - before
}

test.each(Object.entries(KINDS).flatMap(([kind, text]) => [64, 200].map((count) => [count, kind, text] as const)))(
  'S1-32: %i %s from outside, and more as soon as one is closed: the press and hub-stop work within seconds [contact-22]',
  async (count, _kind, text) => {
    const alone = await stopped(await opened())
    const s = await opened()
    let isOver = false
    const where = { host: '127.0.0.1', port: s.port }
    /** One that is sent away comes again. */
    const keep = () => {
      const one = hold(where, text.replace('PORT', String(s.port)))
      closers.push(one.end)
      void one.closed.then(() => {
        if (!isOver) setTimeout(keep, 20)
      })
    }
    closers.push(() => {
      isOver = true
    })
    for (let nth = 0; nth < count; nth += 1) keep()
    await new Promise((done) => setTimeout(done, 100))
    expect(await stopped(s)).toBeLessThan(Math.max(SECONDS_MAX * 1000, TIMES_MAX * alone))
  },
)

test('I6: two hundred stuck connections on its socket keep no operator out', async () => {
  const s = await scene()
  closers.push(s.close)
  for (let nth = 0; nth < 200; nth += 1)
    closers.push(hold({ path: s.paths.socket }, 'POST /v1/shutdown HTTP/1.1\r\n').end)
  await new Promise((done) => setTimeout(done, 100))
  expect(await s.contact({ action: 'set', ...cardOf(WORDS) })).toMatchObject({ status: 200 })
})
