/** Hooks of an embedding program around every message, on both ways in (S0-21). */
import { expect, test } from 'vitest'
import type { Hook, SendFacts, SendOutcome } from '../../hub/work/messages/hooks.ts'
import { openFrameLine } from '../support/frame-line.ts'
import { createHarness, type Harness, puppet } from '../support/hub-harness.ts'

const TYPES = { 'a.b': null }
const agents = {
  slow: { script: puppet, card: { may: { message: ['echo'] }, messages: { sends: TYPES } } },
  quick: { script: puppet, card: { may: { message: ['echo'] }, messages: { sends: TYPES } } },
  echo: { script: puppet, card: { messages: { receives: TYPES } } },
}
const toEcho = (nth: number) =>
  ({ kind: 'request', to: 'agent:echo', type: 'a.b', timeoutMs: 60_000, body: { nth } }) as const
const delaying = (agent: string, delayMs: number): Hook => ({
  name: 'throttle',
  beforeSend: ({ sender }) => (sender.agent === agent ? { delayMs } : undefined),
})
const sentBy = (h: Harness, agent: string) =>
  h.audit().filter(({ action, principal }) => action === 'message.sent' && principal.includes(agent))
const bodies = (deliveries: { from?: { agent: string }; body: Record<string, unknown> }[], agent: string) =>
  deliveries.filter(({ from }) => from?.agent === agent).map(({ body }) => body.nth)
const range = (length: number) => Array.from({ length }, (_, nth) => nth)

test('a middleware that delays one agent slows down its frames alone, in their order, and every one is on the audit record', async () => {
  await using h = await createHarness({ agents, hooks: [delaying('slow', 200)] })
  const [slow, quick, echo] = await h.bring('slow', 'quick', 'echo')
  const [slowLine, quickLine, echoLine] = await h.pumped(Promise.all([slow, quick, echo].map(openFrameLine)))
  if (!slowLine || !quickLine || !echoLine) throw new Error('no lines')
  const startMs = h.clock.monotonicMs()
  for (const nth of range(10)) {
    slowLine.send(toEcho(nth))
    quickLine.send(toEcho(nth))
  }
  await h.until(() => quickLine.upTo === 10, 'the quick one is through', 1)
  expect(h.clock.monotonicMs() - startMs).toBeLessThan(200)
  expect([slowLine.upTo, sentBy(h, 'slow').length]).toEqual([0, 0])
  await h.until(() => slowLine.upTo === 10, 'the slow one is through')
  expect(h.clock.monotonicMs() - startMs).toBeGreaterThanOrEqual(2000)
  await h.until(() => echoLine.deliveries.length === 20)
  expect(bodies(echoLine.deliveries, 'slow')).toEqual(range(10))
  expect(bodies(echoLine.deliveries, 'quick')).toEqual(range(10))
  for (const agent of ['slow', 'quick']) {
    const records = sentBy(h, agent)
    expect(records.map(({ outcome }) => outcome)).toEqual(range(10).map(() => 'ok'))
    expect(records.every((record) => record.decision_id !== null && record.payload_hash !== null)).toBe(true)
  }
})

test('a middleware delays the signed requests of one agent alone', async () => {
  await using h = await createHarness({ agents, hooks: [delaying('slow', 300)] })
  const [slow, quick] = await h.bring('slow', 'quick', 'echo')
  const startMs = h.clock.monotonicMs()
  const waiting = slow.send(toEcho(0)).then(({ status }) => ({ status, tookMs: h.clock.monotonicMs() - startMs }))
  // Without any move of the clock.
  expect((await quick.send(toEcho(0))).status).toBe(200)
  expect(sentBy(h, 'slow')).toHaveLength(0)
  const { status, tookMs } = await h.pumped(waiting)
  expect(status).toBe(200)
  expect(tookMs).toBeGreaterThanOrEqual(300)
  expect(sentBy(h, 'slow')).toHaveLength(1)
})

test('a hook can refuse and is recorded, but cannot get past the rules, nor see or change what is sent', async () => {
  const told: [SendFacts, SendOutcome][] = []
  const meddler: Hook = {
    name: 'meddler',
    beforeSend(facts) {
      expect(() => Object.assign(facts, { to: 'agent:quick' })).toThrow()
      expect(Object.keys(facts)).not.toContain('body')
      return facts.sender.agent === 'quick' ? { refuse: 'tea break', retryAfterMs: 500 } : undefined
    },
    afterSend: (facts, outcome) => void told.push([facts, outcome]),
  }
  await using h = await createHarness({ agents, hooks: [meddler] })
  const [slow, quick, echo] = await h.bring('slow', 'quick', 'echo')
  const refused = await h.pumped(quick.send(toEcho(1)))
  expect([refused.status, refused.body.code, refused.body.retryAfterMs]).toEqual([429, 'rate_limited', 500])
  expect(h.audit().at(-1)).toMatchObject({
    action: 'message.sent',
    outcome: 'refused',
    reason: 'rate_limited: meddler: tea break',
  })
  const line = await h.pumped(openFrameLine(quick))
  line.send(toEcho(2))
  await h.until(() => line.upTo === 1)
  expect(line.refused).toMatchObject([{ problem: { code: 'rate_limited', retryAfterMs: 500 } }])
  // What the hook lets pass the rules still refuse.
  const denied = await h.pumped(echo.send({ kind: 'request', to: 'agent:slow', type: 'a.b', body: {} }))
  expect(denied.status).toBe(400)
  expect((await h.pumped(slow.send(toEcho(3)))).status).toBe(200)
  expect(told.map(([{ sender }, outcome]) => [sender.agent, outcome.ok || outcome.code])).toEqual([
    ['quick', 'rate_limited'],
    ['quick', 'rate_limited'],
    ['echo', 'schema_invalid'],
    ['slow', true],
  ])
  expect(
    h
      .audit()
      .filter(({ action }) => action === 'message.sent')
      .map(({ outcome }) => outcome),
  ).toEqual(['refused', 'refused', 'refused', 'ok'])
})

test('hooks that throw or hang change nothing: messages pass, on record, a hanging one after its second', async () => {
  const broken: Hook[] = [
    {
      name: 'throws',
      beforeSend: () => {
        throw new Error('broken')
      },
      afterSend: () => Promise.reject(new Error('broken too')),
    },
    { name: 'hangs', beforeSend: ({ to }) => (to === 'hub' ? undefined : new Promise(() => undefined)) },
  ]
  await using h = await createHarness({ agents, hooks: broken })
  const [slow, quick] = await h.bring('slow', 'quick', 'echo')
  const line = await h.pumped(openFrameLine(slow))
  const startMs = h.clock.monotonicMs()
  for (const nth of range(3)) line.send(toEcho(nth))
  expect((await h.pumped(quick.send(toEcho(0)))).status).toBe(200)
  await h.until(() => line.upTo === 3)
  expect(h.clock.monotonicMs() - startMs).toBeLessThan(4000)
  expect(line.refused).toEqual([])
  expect(sentBy(h, 'slow')).toHaveLength(3)
  expect(h.complaints.filter(({ msg }) => msg.includes('hook')).length).toBeGreaterThan(0)
})

test('a session that keeps sending while its hooks delay it is cut off, and others are not (T66)', async () => {
  await using h = await createHarness({
    agents,
    hooks: [delaying('slow', 10_000)],
    config: { limits: { messages: { perSecond: 5000 } } },
  })
  const [slow, quick] = await h.bring('slow', 'quick', 'echo')
  const [slowLine, quickLine] = await h.pumped(Promise.all([openFrameLine(slow), openFrameLine(quick)]))
  for (const nth of range(1100)) slowLine.send(toEcho(nth))
  await h.until(() => slowLine.closed !== undefined, 'the slow one is cut', 1)
  quickLine.send(toEcho(0))
  await h.until(() => quickLine.upTo === 1)
  expect(sentBy(h, 'slow')).toHaveLength(0)
})
