/** One agent that sends as fast as it can, beside twenty normal ones (T65). */
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { openFrameLine } from '../support/frame-line.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'

const NORMAL = 20
const ROUNDS = 15
const TYPES = { 'a.b': null }
const normal = Array.from({ length: NORMAL }, (_, nth) => `normal-${nth}`)
const talker = { script: puppet, card: { may: { message: ['sink'] }, messages: { sends: TYPES } } }
const agents = {
  ...Object.fromEntries(normal.map((name) => [name, talker])),
  flooder: talker,
  modest: { script: puppet, card: { ...talker.card, limits: { messagesPerSecond: 5 } } },
  sink: { script: puppet, card: { messages: { receives: TYPES } } },
}
const LOG = { kind: 'log', to: 'hub', type: 'task.log', body: { text: 'x' } } as const
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

// How late the others' answers may be is a figure, not a test: frame-groups.test.ts proves that lines take turns, without real time.
test('a flooder is held to its quota, every message of the others goes through, and no record is made for each refusal', async () => {
  await using h = await createHarness({
    agents,
    config: { limits: { sessions: 24, messages: { perSecond: 200 } } },
  })
  const brought = await h.bring(...normal, 'flooder')
  const flooder = brought.pop()
  const lines = await h.pumped(Promise.all(brought.map(openFrameLine)))
  const privateKey = flooder?.privateKey.export({ type: 'pkcs8', format: 'pem' })
  const workerData = { socketPath: flooder?.socketPath, token: flooder?.token, privateKey, atLeast: 1000 }
  const flood = new Worker(new URL('../support/flooder.ts', import.meta.url), { workerData })
  const heard = () => new Promise<unknown>((resolve, reject) => flood.once('message', resolve).once('error', reject))

  let acknowledged = 0
  const talk = async (line: (typeof lines)[number], rounds: number) => {
    for (let round = 0; round < rounds; round += 1) {
      const sequence = line.send(LOG)
      await new Promise<void>((resolve) => {
        line.onAck = (upTo) => upTo >= sequence && resolve()
      })
      acknowledged += 1
      await pause(20)
    }
  }
  const startedAtMs = h.clock.monotonicMs()
  let running = true
  const clockRuns = (async () => {
    for (; running; await pause(5)) await h.clock.advance(5)
  })()
  await heard()
  flood.postMessage('flood')
  await pause(100)
  await Promise.all(lines.map((line) => talk(line, ROUNDS)))
  flood.postMessage('stop')
  const { sent, passed, codes, closed } = (await heard()) as Record<string, unknown>
  running = false
  await clockRuns

  expect(acknowledged).toBe(NORMAL * ROUNDS)
  expect(lines.flatMap(({ refused }) => refused)).toEqual([])
  // What is over the quota is hardly even read: a rest for each 64 of them, after which what one read of the socket brings comes in.
  const seconds = (h.clock.monotonicMs() - startedAtMs) / 1000
  expect(Number(sent)).toBeGreaterThan(400 + 64)
  expect(Number(sent) - Number(passed)).toBeLessThan((1 + seconds * 4) * (64 + 1000))
  // A burst of two seconds, and so many a second since.
  expect(Number(passed)).toBeGreaterThanOrEqual(400)
  expect(Number(passed)).toBeLessThan(400 + 200 * seconds)
  expect([codes, closed]).toEqual([['rate_limited'], undefined])
  const floods = h.audit().filter(({ reason }) => reason.startsWith('rate_limited'))
  // One in ten seconds.
  expect(floods.length).toBeLessThanOrEqual(1 + Math.ceil(seconds / 10))
  expect(floods.length).toBeGreaterThan(0)
})

test("retryAfterMs is right: a moment earlier is refused, then it passes; a card's own limit is lower", async () => {
  await using h = await createHarness({ agents, config: { limits: { messages: { perSecond: 50 } } } })
  const [modest] = await h.bring('modest')
  const send = () => modest.send({ kind: 'log', body: { text: 'x' } })
  let answer = await send()
  let passed = 0
  for (; answer.status === 200; answer = await send()) passed += 1
  // Its join took none of the ten of its burst.
  expect(passed).toBe(10)
  const retryAfterMs = Number(answer.body.retryAfterMs)
  // A part of one may have come back while it was brought: how much depends on how often this test looked.
  expect(retryAfterMs).toBeGreaterThan(0)
  expect(retryAfterMs).toBeLessThanOrEqual(200)
  await h.clock.advance(retryAfterMs - 1)
  expect((await send()).body).toMatchObject({ code: 'rate_limited', retryAfterMs: 1 })
  await h.clock.advance(1)
  expect((await send()).status).toBe(200)
})

test('a session that says all that its quota lets it still renews its token, opens its line and lives on', async () => {
  await using h = await createHarness({ agents, config: { limits: { messages: { perSecond: 50 } } } })
  const [modest] = await h.bring('modest')
  const drain = async () => {
    for (;;) if ((await modest.send({ kind: 'log', body: { text: 'x' } })).status !== 200) return
  }
  await drain()
  await modest.renew()
  await drain()
  const line = await openFrameLine(modest)
  expect(line.closed).toBeUndefined()
  line.close()
})
