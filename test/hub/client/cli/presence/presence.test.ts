/** `hub heartbeat`, `hub away`, `hub back`: to the hub, else to the watchdog. */
import { expect, it } from 'vitest'
import { commandHome } from '../../../../support/command-home.ts'
import { refusal, watchdogView } from '../../../../support/fake-hub.ts'

const at = commandHome(() => {
  at.watchdog.on('POST /v1/heartbeat', () => ({ body: beat() }))
  at.watchdog.on('GET /v1/status', () => ({ body: watchdogView() }))
}, true)

it.each([
  [1, '1 task is held'],
  [2, '2 tasks are held'],
])('%i held: one is one', async (held, text) => {
  at.hub.on('POST /v1/heartbeat', () => ({ body: { dueAtMs: 1, safeAtMs: 2, stopAtMs: 3, held } }))
  expect((await at.run(['heartbeat'])).stdout).toContain(`\n${text}: `)
})

const beat = () => {
  const nowMs = Date.now()
  return {
    acceptedAtMs: nowMs,
    dueAtMs: nowMs + 86_340_000,
    safeAtMs: nowMs + 93_600_000,
    stopAtMs: nowMs + 180_000_000,
  }
}

it('goes to the hub and answers with the next deadline in local time [presence-8]', async () => {
  at.hub.on('POST /v1/heartbeat', () => ({ body: beat() }))
  const { code, stdout } = await at.run(['heartbeat', '--note', 'all well'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/^accepted; next due [A-Z][a-z]{2} \d\d:\d\d CES?T \(in 23 h 5[89] m\)\n/)
  expect(at.hub.asked[0]?.body).toEqual({ note: 'all well' })
  expect(at.watchdog.asked).toEqual([])
})

it('goes to the watchdog where the hub is dead, and where its store fails [presence-9]', async () => {
  at.hub.on('POST /v1/heartbeat', () => refusal('store_unavailable', 'no room'))
  expect((await at.run(['heartbeat'])).code).toBe(0)
  await at.closeHub()
  const { code, stdout } = await at.run(['heartbeat', '--note', 'n', '--json'])
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toHaveProperty('dueAtMs')
  expect(at.watchdog.asked.map(({ body }) => body)).toEqual([
    { note: '', source: 'cli' },
    { note: 'n', source: 'cli' },
  ])
})

it('an absence goes to the hub with its instant, to the watchdog where the hub is dead, and a wrong one nowhere', async () => {
  at.watchdog.on('GET /v1/status', () => ({
    body: watchdogView({ heartbeat: { ...watchdogView().heartbeat, zone: 'Asia/Tokyo' } }),
  }))
  at.hub.on('POST /v1/away', () => ({ body: { ...beat(), zone: 'Asia/Tokyo', conditions: ['away'] } }))
  const beforeMs = Date.now()
  const first = await at.run(['away', '--until', '3d', '--note', 'sea'])
  expect(first.code).toBe(0)
  expect(first.stdout).toMatch(/^away until .* (GMT\+9|JST) \(in 23 h 5[89] m\): nothing new starts/)
  const { untilMs, ...rest } = (at.hub.asked[0]?.body ?? { untilMs: Number.NaN }) as { untilMs: number }
  expect(rest).toEqual({ keepWorking: false, note: 'sea' })
  expect(untilMs - beforeMs - 3 * 86_400_000).toBeLessThan(30_000)
  for (const until of ['soon', '2026-02-30', '2020-01-01'])
    expect(await at.run(['away', '--until', until])).toMatchObject({ code: 2 })
  expect((await at.run(['away'])).code).toBe(2)
  expect(at.hub.asked).toHaveLength(1)

  await at.closeHub()
  at.watchdog.on('POST /v1/away', () => ({ status: 409, body: { error: 'an absence lasts at most 21 days' } }))
  const refused = await at.run(['away', '--until', '2w', '--keep-working'])
  expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining('at most 21 days') })
  at.watchdog.on('POST /v1/back', () => ({ body: beat() }))
  expect((await at.run(['back'])).code).toBe(0)
  expect(at.watchdog.asked.filter(({ method }) => method === 'POST').map(({ path, body }) => [path, body])).toEqual([
    ['/v1/away', { note: '', source: 'cli', keepWorking: true, untilMs: expect.any(Number) }],
    ['/v1/back', { note: '', source: 'cli' }],
  ])
})

it('says that nobody took the heartbeat, exit 4', async () => {
  await at.closeHub()
  await at.watchdog.close()
  const { code, stderr } = await at.run(['heartbeat'])
  expect(code).toBe(4)
  expect(stderr).toMatch(/hub: neither the hub nor the watchdog accepted the heartbeat/)
})
