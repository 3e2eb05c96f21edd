/** What is delivered again after a crash goes to whom it went first, and says so: at least once, marked (fault G6). */
import { describe, expect, test } from 'vitest'
import type { Delivery } from '../../hub/protocol/envelope.ts'
import { createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'

const messages = { sends: { t: null }, receives: { t: null } }
const card = { may: { message: ['one', 'two'] }, messages, stallAfter: '2h', repeatable: true }
const agents = { one: { script: puppet, card }, two: { script: puppet, card }, solo: { script: puppet } }
const create = () => createHarness({ agents })
const ask = (h: Harness, from: TestAgent, id: string, more: object = {}) =>
  h.pumped(from.say({ id, kind: 'request', to: 'agent:two', type: 't', body: { id }, timeoutMs: 600_000, ...more }))
const mail = async (h: Harness, agent: TestAgent): Promise<Delivery[]> => h.pumped(agent.receive(0))
const idsOf = (deliveries: readonly Delivery[]) => deliveries.map(({ id }) => id).sort()
const again = async (h: Harness) => {
  await h.kill()
  await h.start()
}

describe('fault G6: requests to an agent of two sessions, and kill -9 of the hub', () => {
  test('each repeat goes to the session that had it first, marked, whatever the order', async () => {
    await using h = await create()
    const [one, a, b] = await h.bring('one', 'two', 'two')
    const ids = [...Array(8).keys()].map(() => one.newId())
    for (const id of ids) await ask(h, one, id)
    const before = [idsOf(await mail(h, a)), idsOf(await mail(h, b))]
    expect(before.map(({ length }) => length).sort()).toEqual([4, 4])
    await again(h)
    // The last is sent first: chosen again it would go to the other one.
    for (const id of [...ids].reverse()) await ask(h, one, id, { repeated: true })
    const after = [await mail(h, a), await mail(h, b)]
    expect(after.map(idsOf)).toEqual(before)
    for (const delivery of after.flat()) expect(delivery.redelivered).toBe(true)
    // A second repeat has its outcome: nobody gets it again.
    await ask(h, one, ids[0] ?? '', { repeated: true })
    await ask(h, one, one.newId())
    const news = [await mail(h, a), await mail(h, b)].flat()
    expect(news.filter(({ redelivered }) => redelivered !== true)).toHaveLength(1)
    expect(news).toHaveLength(1)
  })

  test('where that session has ended another one gets it, and is told that it may not be the first', async () => {
    await using h = await create()
    const [one, a, b] = await h.bring('one', 'two', 'two')
    const id = one.newId()
    await ask(h, one, id)
    const first = (await mail(h, a)).length === 1 ? a : b
    const other = first === a ? b : a
    await h.operator('POST', `/v1/sessions/${first.session}/stop`, {})
    await h.until(() => first.ended.aborted, 'it is gone')
    await again(h)
    await ask(h, one, id, { repeated: true })
    expect(await mail(h, other)).toMatchObject([{ id, redelivered: true }])
  })

  test('one that is marked and was never heard of is delivered, marked; one that is new has no mark', async () => {
    await using h = await create()
    const [one, a] = await h.bring('one', 'two')
    await ask(h, one, one.newId(), { repeated: true })
    await ask(h, one, one.newId())
    expect((await mail(h, a)).map(({ redelivered }) => redelivered ?? false)).toEqual([true, false])
  })

  test('the reply of the first session reaches the requester after the restart', async () => {
    await using h = await create()
    const [one, a] = await h.bring('one', 'two')
    const id = one.newId()
    await ask(h, one, id)
    await mail(h, a)
    await again(h)
    await ask(h, one, id, { repeated: true })
    const [delivery] = await mail(h, a)
    await h.pumped(a.reply(delivery as Delivery, { said: 'yes' }))
    expect(await mail(h, one)).toMatchObject([{ kind: 'reply', correlationId: id, body: { said: 'yes' } }])
  })
})

test('fault D9: a question that was answered is told its answer again when it is repeated, also after a restart, and is one question', async () => {
  await using h = await create()
  const [solo] = await h.bring('solo')
  const id = solo.newId()
  const say = (more: object = {}) => h.pumped(solo.say({ id, kind: 'ask', body: { text: 'Well?' }, ...more }))
  await say()
  await say({ repeated: true })
  expect(h.events('hub.task.asked.v1')).toHaveLength(1)
  const [row] = (await h.operator('GET', '/v1/approvals')).body.approvals as { id: string }[]
  await h.operator('POST', `/v1/approvals/${row?.id}/answer`, { approve: true, text: 'do it' })
  const answer = { kind: 'reply', correlationId: id, body: { approved: true, text: 'do it' } }
  expect(await mail(h, solo)).toMatchObject([answer])
  await say({ repeated: true })
  expect(await mail(h, solo)).toMatchObject([answer])
  await again(h)
  await say({ repeated: true })
  expect(await mail(h, solo)).toMatchObject([answer])
  expect(h.hub.guard.approvals.list(true)).toHaveLength(1)
  expect(h.hub.work.tasks.session(solo.session)?.state).toBe('working')
})
