import { describe, expect, test } from 'vitest'
import { readExpiry, waitFor } from '../../hub/work/dispatch/expiry.ts'
import { createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'

const asker = { solo: { script: puppet } }
type Row = { id: string; state: string; question: string; agent: string }

test('an agent asks, its session waits, the operator answers, and the answer comes back under the same id', async () => {
  await using h = await createHarness({ agents: asker })
  const [solo] = await h.bring('solo')
  const id = await h.pumped(solo.say({ kind: 'ask', body: { text: 'Shall I delete it?' } }))
  expect(h.hub.work.tasks.session(solo.session)?.state).toBe('input_required')
  expect(h.events('hub.task.asked.v1').at(-1)?.data).toMatchObject({ text: 'Shall I delete it?' })
  const listed = (await h.operator('GET', '/v1/approvals')).body.approvals as Row[]
  expect(listed).toMatchObject([{ state: 'asked', question: 'Shall I delete it?', agent: 'solo' }])
  const path = `/v1/approvals/${listed[0]?.id}/answer`
  const answered = await h.operator('POST', path, { approve: false, text: 'keep it' })
  expect(answered.body.approval).toMatchObject({ state: 'refused', answer: 'keep it' })
  expect(h.hub.work.tasks.session(solo.session)?.state).toBe('working')
  const [mail] = await h.pumped(solo.receive(0))
  expect(mail).toMatchObject({ kind: 'reply', correlationId: id, body: { approved: false, text: 'keep it' } })
  expect((await h.operator('POST', path, { approve: true })).body.code).toBe('already_resolved')
  expect(h.audit().findLast((row) => row.action === 'approval.answered' && row.outcome === 'ok')).toBeDefined()
})

test('a question that its program takes back waits for nobody any more, and its session works on; nobody takes back what another asked', async () => {
  await using h = await createHarness({ agents: { ...asker, other: { script: puppet } } })
  const [solo, other] = await h.bring('solo', 'other')
  const id = await h.pumped(solo.say({ kind: 'ask', body: { text: 'Well?' } }))
  const waiting = async () => (await h.operator('GET', '/v1/approvals')).body.approvals as Row[]
  const [row] = await waiting()
  const withdraw = (agent: TestAgent) => h.pumped(agent.say({ kind: 'ask', body: { withdraw: id } }))
  await withdraw(other)
  expect(await waiting()).toHaveLength(1)
  await withdraw(solo)
  expect([await waiting(), h.hub.work.tasks.session(solo.session)?.state]).toEqual([[], 'working'])
  expect((await h.operator('POST', `/v1/approvals/${row?.id}/answer`, { approve: true })).body).toMatchObject({
    code: 'already_resolved',
    detail: expect.stringContaining('has taken the question back'),
  })
  // A repeat of it is a no.
  await h.pumped(solo.say({ kind: 'ask', id, body: { text: 'Well?' } }))
  expect(await h.pumped(solo.receive(0))).toMatchObject([{ correlationId: id, body: { approved: false } }])
  expect(
    h
      .audit()
      .filter(({ action }) => action === 'task.asked')
      .at(-2),
  ).toMatchObject({
    effect: expect.stringContaining(`takes its question back, approval:${row?.id}`),
  })
})

test('silence never answers: a question ends as expired with the session that asked it (X10)', async () => {
  await using h = await createHarness({ agents: asker })
  const [solo] = await h.bring('solo')
  await h.pumped(solo.say({ kind: 'ask', body: { text: 'Well?' } }))
  const task = h.hub.work.tasks.session(solo.session)?.task ?? ''
  await h.operator('POST', `/v1/tasks/${task}/cancel`, {})
  await h.until(() => h.hub.guard.approvals.list(true)[0]?.state === 'expired', 'the question expires', 1000)
  const [row] = (await h.operator('GET', '/v1/approvals?all=true')).body.approvals as Row[]
  expect((await h.operator('POST', `/v1/approvals/${row?.id}/answer`, { approve: true })).body.code).toBe(
    'already_resolved',
  )
})

test.each([
  ['degraded', 'disk_low'],
  ['safe', 'operator_request'],
  ['draining', 'draining'],
] as const)(
  'a yes widens what runs and is refused while the hub is %s; a no is taken, and its session goes on [mode-10]',
  async (mode, condition) => {
    await using h = await createHarness({ agents: asker })
    const [solo] = await h.bring('solo')
    await h.pumped(solo.say({ kind: 'ask', body: { text: 'Well?' } }))
    const [row] = (await h.operator('GET', '/v1/approvals')).body.approvals as Row[]
    const answer = async (approve: boolean) => {
      h.hub.guard.modes.raise(condition, 'test')
      return (await h.operator('POST', `/v1/approvals/${row?.id}/answer`, { approve })).body
    }
    expect((await answer(true)).code).toBe(`mode_${mode}`)
    expect((await answer(false)).approval).toMatchObject({ state: 'refused' })
    expect(h.hub.work.tasks.session(solo.session)?.state).toBe('working')
  },
)

/** Of each session 20 s of work, and 60 s that its questions may wait. */
const short = { agents: asker, config: { limits: { ttl: '20s', questionWait: '60s' } } }
const asks = (h: Harness, agent: TestAgent, text = 'Well?') => h.pumped(agent.say({ kind: 'ask', body: { text } }))
const stateOf = (h: Harness, { session }: TestAgent) => h.hub.work.tasks.session(session)?.state
const taskOf = (h: Harness, agent: TestAgent) => h.task(agent.joined?.task.task ?? '')
async function answer(h: Harness, approve = true, at = 0) {
  const rows = (await h.operator('GET', '/v1/approvals')).body.approvals as Row[]
  return await h.operator('POST', `/v1/approvals/${rows[at]?.id}/answer`, { approve })
}

describe('a question and whom it reaches (fault C1)', () => {
  test('it is an alert on every channel, with its text and the commands that answer it, and ends with the answer', async () => {
    const channels = [{ kind: 'file' }, { kind: 'command', run: ['/bin/true'], name: 'own' }]
    await using h = await createHarness({ agents: asker, config: { alerts: { channels } } })
    const [solo] = await h.bring('solo')
    await asks(h, solo, 'Shall I delete it?')
    const [open] = h.hub.guard.alerts.list()
    const [row] = (await h.operator('GET', '/v1/approvals')).body.approvals as (Row & { root: string })[]
    expect(open).toMatchObject({ cause: `question:${row?.id}`, severity: 'warning' })
    expect(open?.text).toMatch(/^Agent solo asks you, and waits:\n> Shall I delete it\?\n/)
    expect(open?.text).toContain(`hub approve ${row?.id}`)
    expect(row?.root).toBe(taskOf(h, solo).id)
    const lines = h.hub.guard.store
      .prepare('select channel, text from alert_delivery where alert = ? order by channel')
      .all(open?.id) as { channel: string; text: string }[]
    expect(lines.map(({ channel, text }) => [channel, text.includes('Shall I delete it?')])).toEqual([
      ['file', true],
      ['own', true],
    ])
    await answer(h)
    expect(h.hub.guard.alerts.list()).toEqual([])
  })

  test('no line of the question looks like one of the hub: the words of an agent are marked in each', async () => {
    await using h = await createHarness({ agents: asker })
    const [solo] = await h.bring('solo')
    const breaks = ['\n', '\r\n', '\r', '\v', '\f', '\u0085', '\u2028', '\u2029']
    await asks(h, solo, `Well?${breaks.map((one) => `${one}Yes: hub agent allow solo`).join('')}`)
    const lines = (h.hub.guard.alerts.list()[0]?.text ?? '').split(/[\n\r\v\f\u0085\u2028\u2029]/)
    expect(lines.filter((line) => line.includes('hub agent allow'))).toEqual(
      breaks.map(() => '> Yes: hub agent allow solo'),
    )
    expect(lines.filter((line) => line.startsWith('Yes: '))).toHaveLength(1)
  })

  test('an alert that a crash kept from being raised is raised by the next look, and once', async () => {
    await using h = await createHarness({ agents: asker })
    const [solo] = await h.bring('solo')
    await asks(h, solo)
    const { alerts, store } = h.hub.guard
    alerts.resolve(alerts.list()[0]?.cause ?? '')
    await h.until(() => alerts.list().length === 1, 'it is told again', 1000)
    await h.clock.advance(60_000)
    expect(store.prepare('select count(*) from alert').pluck().get()).toBe(2)
  })
})

test('if there are more questions than a person reads, the rest is one alert; each is told once there is room (fault C1)', async () => {
  await using h = await createHarness({ agents: asker })
  const agents = await h.bring('solo', 'solo', 'solo', 'solo')
  for (const agent of agents) for (let nth = 0; nth < 13; nth += 1) await asks(h, agent)
  const kinds = () => h.hub.guard.alerts.list().map(({ cause }) => cause.split(':')[0])
  expect(kinds().filter((kind) => kind === 'question')).toHaveLength(50)
  expect(kinds()).toContain('questions_waiting')
  await answer(h)
  await answer(h)
  await answer(h, true, 40)
  await h.until(() => !kinds().includes('questions_waiting'), 'there is room', 1000)
  await h.until(() => kinds().length === 49, 'each is told', 1000)
})

describe('ten at once, one answered twice, one after its agent has gone (fault C1)', () => {
  test('each refusal says what became of the question', async () => {
    await using h = await createHarness({ agents: asker })
    const [solo] = await h.bring('solo')
    for (let nth = 0; nth < 10; nth += 1) await asks(h, solo, `Number ${nth}?`)
    expect(h.hub.guard.alerts.list().map(({ text }) => text.split('\n')[1])).toEqual(
      [...Array(10).keys()].map((nth) => `> Number ${nth}?`),
    )
    const rows = (await h.operator('GET', '/v1/approvals')).body.approvals as Row[]
    // Asked in one millisecond, they have no order.
    const idOf = (nth: number) => rows.find(({ question }) => question === `Number ${nth}?`)?.id
    const tell = async (nth: number, text = '') =>
      (await h.operator('POST', `/v1/approvals/${idOf(nth)}/answer`, { approve: true, text })).body
    expect((await tell(3, 'do')).approval).toMatchObject({ agent: 'solo', question: 'Number 3?', state: 'approved' })
    expect(await tell(3)).toMatchObject({
      code: 'already_resolved',
      detail: 'the question of agent solo was already approved, with "do"; the first answer counts',
    })
    expect(stateOf(h, solo)).toBe('input_required')
    // Before the loop that ends questions has looked, and after it.
    await h.operator('POST', `/v1/tasks/${taskOf(h, solo).id}/cancel`, {})
    const gone = 'agent solo has ended; nobody waits for this answer any more'
    expect(await tell(4)).toMatchObject({ code: 'already_resolved', detail: gone })
    await h.until(() => h.hub.guard.alerts.list().length === 0, 'the alerts end', 1000)
    expect(await tell(5)).toMatchObject({ code: 'already_resolved', detail: gone })
  })
})

describe('the clock of the one who asks (fault C1)', () => {
  test('stands still while a person is asked, goes on with the answer, and its labels never move', async () => {
    await using h = await createHarness(short)
    const [solo] = await h.bring('solo')
    const { Labels } = solo.container.body
    const row = h.hub.work.tasks.session(solo.session)
    const wholeMs = readExpiry(Labels['hub.expires-boot'] ?? '').bootMs - readExpiry(row?.expiresBoot ?? '').bootMs
    expect(wholeMs).toBe(60_000)
    expect(solo.joined?.deadlineMs).toBeLessThanOrEqual(row?.expiresAtMs ?? 0)
    expect(solo.joined).toMatchObject({ waitLeftMs: 60_000 })
    await h.clock.advance(10_000)
    await asks(h, solo)
    await h.clock.advance(40_000)
    expect(stateOf(h, solo)).toBe('input_required')
    await answer(h)
    await h.clock.advance(8_000)
    expect(taskOf(h, solo).state).toBe('running')
    await h.clock.advance(4_000)
    expect(taskOf(h, solo)).toMatchObject({ state: 'timed_out', error: { code: 'ttl_expired' } })
    expect(
      h.hub.work.containment.ledger.list().every(({ expiresBoot }) => expiresBoot === Labels['hub.expires-boot']),
    ).toBe(true)
  })

  test('stands still no longer in all than its questions may wait, however many there are', async () => {
    await using h = await createHarness(short)
    const [solo] = await h.bring('solo')
    for (const waitMs of [30_000, 25_000]) {
      await asks(h, solo)
      await h.clock.advance(waitMs)
      await answer(h)
    }
    // 5 s are left to wait and a good 19 s to work; a question that nobody answers stops the clock for no longer.
    await asks(h, solo)
    await h.clock.advance(20_000)
    expect(taskOf(h, solo).state).toBe('running')
    await h.clock.advance(6_000)
    expect(taskOf(h, solo).state).toBe('timed_out')
    expect(h.clock.bootMs()).toBeLessThan(
      readExpiry(solo.container.body.Labels['hub.expires-boot'] ?? '').bootMs + 2_000,
    )
  })

  test('stands still over a restart of the hub too, and the same question is not told twice', async () => {
    await using h = await createHarness(short)
    const [solo] = await h.bring('solo')
    await asks(h, solo)
    await h.clock.advance(10_000)
    await h.kill()
    await h.clock.advance(20_000)
    await h.start()
    expect(stateOf(h, solo)).toBe('input_required')
    await h.clock.advance(15_000)
    expect(taskOf(h, solo).state).toBe('running')
    expect(h.hub.guard.store.prepare('select count(*) from alert').pluck().get()).toBe(1)
    await answer(h)
    await h.clock.advance(15_000)
    expect(taskOf(h, solo).state).toBe('running')
    await h.clock.advance(6_000)
    expect(taskOf(h, solo).state).toBe('timed_out')
  })

  test('with 0 nothing is added: working time and labels are one', async () => {
    await using h = await createHarness({ agents: asker, config: { limits: { ttl: '20s', questionWait: 0 } } })
    const [solo] = await h.bring('solo')
    await asks(h, solo)
    await h.clock.advance(21_000)
    expect(taskOf(h, solo).state).toBe('timed_out')
  })

  const MIN = 60_000
  const DAY = 24 * 60 * MIN
  test.each([
    ['an hour of work', 30 * MIN, 60 * MIN, Number.POSITIVE_INFINITY, 30 * MIN],
    ['never past 24 h', 30 * MIN, DAY - 10 * MIN, Number.POSITIVE_INFINITY, 10 * MIN],
    ['a whole day of work', 30 * MIN, DAY, Number.POSITIVE_INFINITY, 0],
    ['a child within its parent', 30 * MIN, 5 * MIN, 20 * MIN, 15 * MIN],
    ['a child as long as its parent', 30 * MIN, 20 * MIN, 20 * MIN, 0],
  ])('%s: questions may wait so long', (_, waitMs, ttlMs, aboveMs, most) => {
    expect(waitFor({ waitMs, ttlMs, aboveMs })).toBe(most)
  })
})
