/** The backup contact at the hub: one card, one verb (docs/safety.md 6, S1-31, T16-T19). */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { openFakeDoor } from '../support/fake-hub.ts'
import { freePort } from '../support/free-port.ts'
import { createHarness, type Harness, type HarnessOptions, puppet } from '../support/hub-harness.ts'
import { FORM, onceOf, pressWith, send } from '../support/plain-http.ts'
import { hold } from '../support/raw-wire.ts'

async function scene(options: Partial<HarnessOptions> = {}) {
  const port = await freePort()
  const config = { http: { port }, shutdownTimeout: '1s', ...options.config }
  const h = await createHarness({ agents: { a: { script: puppet, stubborn: true } }, ...options, config })
  const ask = (method: string, path: string, headers: Record<string, string> = {}, body?: string) =>
    h.pumped(send(port, { method, path, headers, ...(body === undefined ? {} : { body }) }))
  return {
    h,
    port,
    ask,
    press: (path: string, headers: Record<string, string> = {}, fields: Record<string, string> = {}) =>
      pressWith(ask, path, headers, fields),
    /** Reloads as the page does until it is no longer stopping. */
    async settled(path: string) {
      for (let turn = 0, said = ''; ; turn += 1) {
        const page = await ask('GET', path)
        said = String(page.headers['hub-stop'])
        if (!said.startsWith('stopping')) return page
        if (turn > 500) throw new Error(`it is not over after ${turn} looks: ${said}`)
        await h.clock.advance(2000)
      }
    },
    [Symbol.asyncDispose]: () => h[Symbol.asyncDispose](),
  }
}
async function card(h: Harness, more = {}): Promise<string> {
  const { status, body } = await h.operator('POST', '/v1/contact/card', { name: 'Bea', operator: 'Ada', ...more })
  expect(status, JSON.stringify(body)).toBe(200)
  return body.words as string
}
const stops = (h: Harness) => h.audit().filter(({ action }) => action === 'hub.shutdown_asked')

test('S1-31: the card stops everything by POST and once; GET, HEAD and prefetches change nothing, pressing again says so (T19) [contact-7, contact-8, contact-17]', async () => {
  await using s = await scene()
  const { h, ask } = s
  await h.bring('a', 'a')
  const words = await card(h)
  expect(words).toMatch(/^([a-z]{3,8}-){11}[a-z]{3,8}$/)
  const path = `/stop/${words}`

  const page = await ask('GET', path)
  expect(page.status).toBe(200)
  expect(page.text).toContain('Ada can start it again')
  expect(page.text.match(/<button/g)).toHaveLength(1)
  for (const method of ['GET', 'HEAD'])
    for (let turn = 0; turn < 3; turn += 1) expect((await ask(method, path)).status).toBe(200)
  expect((await ask('HEAD', path)).text).toBe('')
  for (const headers of [
    { 'sec-purpose': 'prefetch;prerender' },
    { purpose: 'prefetch' },
    { 'x-moz': 'prefetch' },
    { 'x-purpose': 'preview' },
  ])
    for (const page of [await ask('GET', path, headers), await s.press(path, headers)])
      expect(page.headers['hub-stop']).toBe('ask')
  expect([h.hub.guard.modes.has('emergency_stop'), stops(h), h.engine.containers.size]).toEqual([false, [], 2])

  const first = await s.press(path)
  expect(first.status).toBe(200)
  expect(first.text).toContain(`content="2;url=${path}"`)
  const done = await s.settled(path)
  expect(done.text).toContain('Stopped. Nothing was deleted. If this was a mistake, tell Ada; it can be started again.')
  const again = await s.press(path, {}, { stop: '1' })
  expect(again.text).toContain('Already stopped')
  expect(again.headers['hub-stop']).toBe('already 2 2')
  expect(h.hub.guard.modes.has('emergency_stop')).toBe(true)

  expect(stops(h)[0]).toMatchObject({
    principal: 'contact',
    outcome: 'ok',
    effect: expect.stringMatching(/^card [0-9a-f]{12}$/),
  })
  expect(stops(h).filter(({ effect }) => !effect.includes('already'))).toHaveLength(1)
  const alert = h.hub.guard.alerts.list().find(({ cause }) => cause === 'contact_stop')
  expect(alert, 'not over by itself while everything stands still').toMatchObject({ lastsMs: null })
  await h.until(() => h.exits.length > 0)
  expect(h.exits).toHaveLength(1)
})

test("fault C30: a program that posts to the address, of a hidden origin too, stops nothing; only the page's own one-time field does [contact-9]", async () => {
  await using s = await scene()
  const { h, ask } = s
  await h.bring('a')
  const words = await card(h)
  const path = `/stop/${words}`
  for (const headers of [{}, { origin: 'null' }, { origin: `http://127.0.0.1:${s.port}` }])
    for (const body of ['', 'stop=1', `words=${words}`, `once=${'a'.repeat(64)}`]) {
      const page = await ask('POST', path, { ...FORM, ...headers }, body)
      expect([page.status, page.headers['hub-stop']], body).toEqual([200, 'ask'])
    }
  expect([stops(h), h.engine.containers.size]).toEqual([[], 1])
  const once = onceOf((await ask('GET', path)).text)
  expect((await ask('POST', path, { ...FORM, origin: 'null' }, `once=${once}`)).headers['hub-stop']).toMatch(/^stopp/)
  expect((await s.settled(path)).headers['hub-stop']).toBe('stopped 1 1')
})

test('the hub waits with its end until the last page was seen, and no longer than a minute [contact-16]', async () => {
  await using s = await scene()
  const { h } = s
  await h.bring('a')
  const words = await card(h)
  await s.press(`/stop/${words}`)
  await h.until(() => h.engine.containers.size === 0 && h.hub.work.tasks.sessionsOpen().length === 0)
  await h.clock.advance(20_000)
  expect(h.exits).toEqual([])
  await h.until(() => h.exits.length > 0, 'the hub ends', 1000)
})

test('S1-31: the stop holds over a restart, answers reads, and ends by resume alone; then the card stops again [stop-25, contact-23]', async () => {
  await using s = await scene()
  const { h, ask } = s
  const words = await card(h)
  expect(
    (await s.press('/stop', {}, { words: ` 1. ${words.toUpperCase().replaceAll('-', ' \n 2) ')}. ` })).headers[
      'hub-stop'
    ],
  ).toBe('stopped 0 0')
  await h.stop()
  await h.start()
  expect((await h.operator('GET', '/v1/tasks')).status).toBe(200)
  await expect(h.submit('a')).rejects.toThrow('mode_safe')
  expect((await ask('GET', `/stop/${words}`)).headers['hub-stop']).toBe('stopped 0 0')
  expect((await s.press(`/stop/${words}`)).headers['hub-stop']).toBe('already 0 0')
  // No watchdog runs here, which the answer says; the hub's own condition ends all the same.
  await h.operator('POST', '/v1/mode/resume', {})
  // A second press would else be told to nobody: an alert is told once while it is open.
  await h.until(() => !h.hub.guard.alerts.isOpen('contact_stop'), 'the alert of the stop ends with it', 200)
  await h.submit('a')
  expect((await ask('GET', `/stop/${words}`)).headers['hub-stop']).toBe('ask')
})

test('T16, S1-31: altered, revoked, expired and unknown words are refused with one constant page, each recorded with its reason [contact-21]', async () => {
  await using s = await scene()
  const { h, ask } = s
  const old = await card(h)
  const words = await card(h, { expiresAtMs: h.clock.wallMs() + 60_000 })
  const swapped = words.split('-').reverse().join('-')
  const pages = []
  const refused = [
    old,
    swapped,
    words.slice(0, -1),
    `${words}-word`,
    words.toUpperCase(),
    words.replace('-', '%2d'),
    `%${words.charCodeAt(0).toString(16)}${words.slice(1)}`,
    `${words}/`,
    `./${words}`,
    `x/../${words}`,
    '',
    'abandon-'.repeat(12).slice(0, -1),
    'constructor',
  ]
  for (const path of refused) for (const method of ['GET', 'POST']) pages.push(await ask(method, `/stop/${path}`))
  for (const typed of ['words=', `words=${old}`, 'word=x', `words=${words}x`, 'x'.repeat(4000)])
    pages.push(await ask('POST', '/stop', FORM, typed))
  await h.clock.advance(60_000)
  pages.push(await s.press(`/stop/${words}`))
  expect([...new Set(pages.map(({ status, text }) => `${status} ${text}`))]).toHaveLength(1)
  expect(pages[0]?.status).toBe(403)
  expect(h.hub.guard.modes.has('emergency_stop')).toBe(false)
  const reasons = stops(h).map(({ principal, outcome, reason }) => `${principal} ${outcome} ${reason}`)
  expect(reasons[0]).toMatch(/^contact:unproven refused unauthenticated: card [0-9a-f]{12} was revoked/)
  expect(reasons.at(-1)).toMatch(/card [0-9a-f]{12} has expired; \d+ others before it/)
})

test('I6: pressed again with rows that cannot be read, it stops again and says no error [contact-18]', async () => {
  await using s = await scene()
  const { h } = s
  const words = await card(h)
  await h.bring('a')
  h.hub.guard.modes.raise('emergency_stop', 'a test')
  vi.spyOn(h.hub.work.tasks, 'sessionsOpen').mockImplementation(() => {
    throw new Error('disk I/O error')
  })
  expect((await s.press(`/stop/${words}`)).status).toBe(200)
  expect((await s.settled(`/stop/${words}`)).headers['hub-stop']).toBe('stopped 1 1')
  expect(h.engine.containers.size).toBe(0)
})

test('the words stand nowhere: not in the log, the audit log, the alerts, the database or any other file of the home [contact-3, contact-6, audit-6]', async () => {
  await using s = await scene()
  const { h, ask, port } = s
  const words = await card(h)
  await ask('GET', `/stop/${words}`)
  await ask('GET', `/v1/${words}`)
  await ask('GET', `/v1/tasks/${words}`)
  await ask('GET', `/v1/tasks/${words}`, { authorization: `Bearer ${words}` })
  await ask('GET', `/x/${words}`, { authorization: `Bearer ${words}` })
  await ask('GET', '/healthz', { host: words, authorization: `Bearer ${words}` })
  await h.operator('GET', `/stop/${words}`)
  await h.operator('GET', `/v1/tasks/${words}`)
  await h.operator('POST', '/v1/mode/safe', { [words]: words })
  await h.operator('POST', '/v1/heartbeat', {}, { 'idempotency-key': words })
  await s.press(`/stop/${words}`)
  await h.until(() => h.exits.length > 0, 'the end', 1000)
  await h.stop()
  const files = readdirSync(h.home, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  expect(files.length).toBeGreaterThan(3)
  for (const file of files) {
    const bytes = readFileSync(join(file.parentPath, file.name)).toString('latin1')
    expect(bytes.includes(words), file.name).toBe(false)
    expect(bytes.includes(words.replaceAll('-', ' ')), file.name).toBe(false)
  }
  expect(JSON.stringify(h.complaints)).not.toContain(words)
  expect(port).toBeGreaterThan(0)
})

test('S1-31: a test code is six digits, five wrong ones end it, and the right one sets the contact up [contact-26]', async () => {
  await using s = await scene()
  const { h } = s
  const say = (path: string, body = {}) => h.operator('POST', `/v1/contact/${path}`, body)
  expect((await say('test')).body.code).toBe('conflict')
  await card(h)
  expect((await say('confirm', { code: '000000' })).body.code).toBe('conflict')
  const code = String((await say('test')).body.code)
  expect(code).toMatch(/^\d{6}$/)
  const wrong = code === '111111' ? '222222' : '111111'
  for (let tries = 0; tries < 5; tries += 1) expect((await say('confirm', { code: wrong })).status).toBe(403)
  expect((await say('confirm', { code })).status).toBe(409)
  const next = String((await say('test')).body.code)
  expect((await say('confirm', { code: next })).status).toBe(200)
  expect((await say('confirm', { code: next })).status).toBe(409)
  const checks = (await h.operator('GET', '/v1/doctor')).body.checks as { name: string; ok: boolean | null }[]
  expect(checks.filter(({ name }) => name === 'contact')).toMatchObject([{ ok: true }])
})

test('what the watchdog could not be told it is told later; a card revoked there while the hub was away is revoked here too [mode-9, contact-5]', async () => {
  await using s = await scene()
  const { h, ask } = s
  const { body } = await h.operator('POST', '/v1/contact/card', { name: 'Bea', operator: 'Ada' })
  expect(body.watchdog).toMatchObject({ told: false })
  const words = String(body.words)
  mkdirSync(join(h.home, 'watchdog', 'run'), { recursive: true })
  const watchdog = await openFakeDoor(join(h.home, 'watchdog', 'run', 'watchdog.sock'))
  try {
    let revoked = false
    watchdog.on('POST /v1/contact', () => ({ body: { revoked, card: null } }))
    const told = () =>
      watchdog.asked.flatMap((one) => (one.path === '/v1/contact' ? [one.body as { action: string }] : []))
    await h.until(() => told().length > 0, 'the housekeeping tells it', 1000)
    expect(told()[0]).toMatchObject({
      action: 'set',
      name: 'Bea',
      operator: 'Ada',
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    expect((await ask('GET', `/stop/${words}`)).headers['hub-stop']).toBe('ask')

    await h.stop()
    revoked = true
    await h.start()
    await h.until(() => h.hub.guard.contact.current() === undefined, 'it is revoked', 1000)
    expect((await ask('GET', `/stop/${words}`)).status).toBe(403)
    expect(h.audit().filter(({ action }) => action === 'contact.card_revoked')).toMatchObject([
      { principal: 'hub:contact', outcome: 'ok' },
    ])
  } finally {
    await watchdog.close()
  }
})

test('S1-31: the card does not come back to life with a wall clock that goes back (T71) [clock-12]', async () => {
  await using s = await scene()
  const { h, ask } = s
  const words = await card(h, { expiresAtMs: h.clock.wallMs() + 60_000 })
  expect((await ask('GET', `/stop/${words}`)).status).toBe(200)
  await h.clock.advance(61_000)
  expect((await ask('GET', `/stop/${words}`)).status).toBe(403)
  h.clock.stepWall(-3_600_000)
  expect((await s.press(`/stop/${words}`)).status).toBe(403)
  expect(h.hub.guard.modes.has('emergency_stop')).toBe(false)
})

test("T32, I6: who holds two hundred connections of the page, and of the operator's socket, keeps out neither the press nor the operator [contact-22]", async () => {
  await using s = await scene()
  await s.h.bring('a')
  const words = await card(s.h)
  const held = [{ host: '127.0.0.1', port: s.port }, { path: join(s.h.home, 'run', 'operator.sock') }].flatMap(
    (where) =>
      ['', 'POST /stop HTTP/1.1\r\nX-Slow: '].flatMap((text) => Array.from({ length: 100 }, () => hold(where, text))),
  )
  try {
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect((await s.h.operator('GET', '/v1/mode')).status).toBe(200)
    expect((await s.press(`/stop/${words}`)).headers['hub-stop']).toMatch(/^stopp(ing|ed) /)
    expect((await s.settled(`/stop/${words}`)).headers['hub-stop']).toBe('stopped 1 1')
  } finally {
    for (const { end } of held) end()
  }
})
