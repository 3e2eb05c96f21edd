/** An agent that is refused on and on is summed, and in the end contained (fault F2, T47, T65). */
import { expect, test } from 'vitest'
import { HubError } from '../../hub/base/errors.ts'
import { SUM_EVERY_MS } from '../../hub/guard/record-budget.ts'
import { EXCESS_PER_WINDOW, EXCESS_WINDOWS, OWN_PER_KIND_MAX, WINDOW_MS } from '../../hub/guard/refusals.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'

const agents = { one: { script: puppet, card: { limits: { ttl: '2h' } } }, two: { script: puppet } }
const config = { limits: { ttl: '2h' } }

test('fault F2: what an agent is refused beyond the first few stands in the log as one record and its count, and what it may do as ever [audit-2]', async () => {
  await using h = await createHarness({ agents, config })
  const [one] = await h.bring('one')
  const before = h.audit().length
  for (let nth = 0; nth < 40; nth += 1) {
    const answer = await h.pumped(one.send({ kind: 'request', to: 'agent:two', type: `x.${nth}`, body: {} }))
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect((await h.pumped(one.send({ kind: 'log', body: { text: 'x' } }))).status).toBe(200)
  }
  await h.clock.advance(WINDOW_MS + 20_000)
  const since = h.audit().slice(before)
  const mine = since.filter(({ principal }) => principal.startsWith('agent:one/'))
  const refused = mine.filter(({ outcome }) => outcome === 'refused')
  expect(refused).toHaveLength(OWN_PER_KIND_MAX + 1)
  expect(refused.at(-1)).toMatchObject({
    action: 'gate.refused',
    resource: `session:${one.session}`,
    reason: expect.stringMatching(/^summed: 30 more refusals: 30 message\.send \w+$/),
  })
  expect(mine.filter(({ action, outcome }) => action === 'task.logged' && outcome === 'ok').length).toBe(40)
  expect(h.sessionsOf(one.joined?.task.task ?? '')[0]?.exitReason ?? null, 'and it works on').toBeNull()
})

test('fault F2: beyond its budget of records what a session says of itself is one record a minute, what goes to others is refused by name, and it ends well', async () => {
  await using h = await createHarness({
    agents: {
      one: { script: puppet, card: { messages: { sends: { say: null } }, may: { message: ['two'] } } },
      two: { script: puppet, card: { messages: { receives: { say: null } } } },
    },
    config: { limits: { messages: { perSecond: 50_000, recordsPerHour: 100 } } },
  })
  const [one] = await h.bring('one', 'two')
  const log = () => h.pumped(one.send({ kind: 'log', body: { text: 'x' } }), 1)
  const send = () => h.pumped(one.send({ kind: 'request', to: 'agent:two', type: 'say', body: {} }), 1)
  expect((await send()).status).toBe(200)
  for (let nth = 0; nth < 150; nth += 1) expect((await log()).status).toBe(200)
  const answer = await send()
  expect([answer.status, answer.body.code]).toEqual([429, 'rate_limited'])
  expect(String(answer.body.detail)).toContain('limits.messages.recordsPerHour')
  expect(Number(answer.body.retryAfterMs)).toBeLessThanOrEqual(36_000)
  const mine = () => h.audit().filter(({ principal }) => principal.startsWith('agent:one/'))
  const lines = mine().filter(({ action, outcome }) => action === 'task.logged' && outcome === 'ok').length
  expect(lines).toBeLessThan(100)
  await h.clock.advance(SUM_EVERY_MS + 20_000)
  const sums = mine().filter(({ action }) => action === 'gate.admitted')
  expect(sums).toMatchObject([
    { outcome: 'ok', reason: `summed: ${150 - lines} more admitted: ${150 - lines} task.log` },
  ])
  expect((await send()).status).toBe(200)
  await h.pumped(one.result('done'))
  await h.ended(one.joined?.task.task ?? '')
  expect(h.task(one.joined?.task.task ?? '').state).toBe('succeeded')
})

test('fault F2, T47: refused some hundred times a minute for minutes on end its session is stopped, the operator warned, and the mode stays [audit-3]', async () => {
  await using h = await createHarness({ agents, config })
  const [one] = await h.bring('one')
  const { gate } = h.hub.guard
  const principal = { kind: 'agent', id: 'one', agent: 'one', session: one.session } as const
  const task = one.joined?.task.task ?? ''
  for (let minute = 1; minute <= EXCESS_WINDOWS; minute += 1) {
    expect(h.task(task).state).toBe('running')
    for (let nth = 0; nth < EXCESS_PER_WINDOW; nth += 1)
      gate.refuse({ principal, operation: 'message.send', resource: 'agent:two' }, new HubError('policy_denied', 'no'))
    await h.clock.advance(WINDOW_MS + 1000)
  }
  await h.until(() => h.task(task).state === 'failed', 'it is contained')
  expect(h.task(task)).toMatchObject({ state: 'failed', error: { code: 'forbidden' } })
  await h.until(() => h.sessionsOf(task)[0]?.exitReason === 'security', 'its session is recycled')
  const alerts = (await h.operator('GET', '/v1/alerts')).body.alerts as { cause: string; severity: string }[]
  expect(JSON.stringify(alerts)).toContain('session_stopped:one')
  expect(h.hub.guard.modes.current()).toBe('normal')
})
