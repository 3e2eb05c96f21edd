/** One agent that sends as fast as it can, beside twenty normal ones (T65). */
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

test('a flooder is held to its quota, others keep their p99 under 50 ms, and no record is made for each refusal', async () => {
  await using h = await createHarness({
    agents,
    config: { limits: { sessions: 24, messages: { perSecond: 200 } } },
  })
  const brought = await h.bring(...normal, 'flooder')
  const lines = await h.pumped(Promise.all(brought.map(openFrameLine)))
  const flooder = lines.pop()
  if (flooder === undefined) throw new Error('no flooder')

  let flooding = true
  let sent = 0
  const flood = async () => {
    while (flooding) {
      // Well over 50 000 a second are asked for; what the machine takes of it is sent.
      for (let nth = 0; nth < 200; nth += 1) sent = flooder.send(LOG)
      await pause(2)
    }
  }
  const tookMs: number[] = []
  const talk = async (line: (typeof lines)[number]) => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const startMs = performance.now()
      const sequence = line.send(LOG)
      await new Promise<void>((resolve) => {
        line.onAck = (upTo) => upTo >= sequence && resolve()
      })
      tookMs.push(performance.now() - startMs)
      await pause(20)
    }
  }
  const flooded = flood()
  const clockRuns = (async () => {
    while (flooding) {
      await h.clock.advance(5)
      await pause(5)
    }
  })()
  await Promise.all(lines.map(talk))
  flooding = false
  await Promise.all([flooded, clockRuns])
  await h.until(() => flooder.upTo === sent || flooder.closed !== undefined)

  const sorted = tookMs.sort((a, b) => a - b)
  const p99 = sorted[Math.floor(sorted.length * 0.99)] ?? Number.POSITIVE_INFINITY
  expect(sorted).toHaveLength(NORMAL * ROUNDS)
  console.log("P99", p99, sorted[sorted.length >> 1], sent)
  expect(p99).toBeLessThan(50)
  expect(lines.flatMap(({ refused }) => refused)).toEqual([])
  expect(sent).toBeGreaterThan(2000)
  // A burst of two seconds and so many a second since; the clock of the hub ran for less than five.
  const passed = flooder.upTo - flooder.refused.length
  expect(passed).toBeLessThan(200 * 7)
  expect(new Set(flooder.refused.map(({ problem }) => problem.code))).toEqual(new Set(['rate_limited']))
  const floods = h.audit().filter(({ reason }) => reason.startsWith('rate_limited'))
  expect(floods.length).toBeLessThanOrEqual(2)
  expect(floods.length).toBeGreaterThan(0)
})

test("retryAfterMs is right: a moment earlier is refused, then it passes; a card's own limit is lower", async () => {
  await using h = await createHarness({ agents, config: { limits: { messages: { perSecond: 50 } } } })
  const [modest] = await h.bring('modest')
  const send = () => modest.send({ kind: 'log', body: { text: 'x' } })
  let answer = await send()
  let passed = 0
  for (; answer.status === 200; answer = await send()) passed += 1
  // Its join took one of the ten of its burst.
  expect(passed).toBeLessThanOrEqual(10)
  const retryAfterMs = Number(answer.body.retryAfterMs)
  expect(retryAfterMs).toBeGreaterThan(100)
  expect(retryAfterMs).toBeLessThanOrEqual(200)
  await h.clock.advance(retryAfterMs - 1)
  expect((await send()).body).toMatchObject({ code: 'rate_limited', retryAfterMs: 1 })
  await h.clock.advance(1)
  expect((await send()).status).toBe(200)
})
