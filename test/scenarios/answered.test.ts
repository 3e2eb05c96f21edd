/** A session hears what became of its own act that a person was asked about, without asking again (S2-26, ask-12). */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { askWhere } from '../support/asking-rules.ts'
import { createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'

const messages = { sends: { pay: null }, receives: { pay: null } }
const card = { messages, may: { message: ['b'] } }
const agents = { a: { script: puppet, card }, c: { script: puppet, card }, b: { script: puppet, card: { messages } } }
const asking = (h: Harness) =>
  askWhere(h.hub.guard, ({ operation }) => (operation === 'message.send' ? 'pay?' : undefined))
const answer = (h: Harness, id: string, approve: boolean, text = '') =>
  h.operator('POST', `/v1/approvals/${id}/answer`, { approve, text })
const pay = (h: Harness, agent: TestAgent, amount: number) =>
  h.pumped(agent.send({ kind: 'request', to: 'agent:b', type: 'pay', timeoutMs: 60_000, body: { amount } }))
const askedBy = async (h: Harness, agent: TestAgent, amount: number) =>
  String((await pay(h, agent, amount)).body.approval)
async function changeRules(h: Harness): Promise<void> {
  const data = join(h.home, 'policy', 'data.json')
  const rules = JSON.parse(readFileSync(data, 'utf8')) as { agents: object }
  writeFileSync(data, JSON.stringify({ ...rules, agents: { ...rules.agents, other: { ttlMs: 60_000 } } }))
  expect((await h.operator('POST', '/v1/policy/reload', {})).status).toBe(200)
}
const notice = (approval: string, said: string, text = '') => ({
  ...{ kind: 'message', id: approval, messageKind: 'event', type: 'approval.answered' },
  body: { approval, answer: said, text },
})

test('yes, no, silence and a change each wake the session that asked, once, and no other [ask-12]', async () => {
  await using h = await createHarness({ agents, config: { approvals: { write: { waitRunning: '30s' } } } })
  const [a, c, b] = await h.bring('a', 'c', 'b')
  asking(h)
  const first = await askedBy(h, a, 1)
  expect(await h.pumped(a.receive(0))).toEqual([])
  const waiting = a.next()
  await answer(h, first, true, 'go on')
  const heard = await h.pumped(waiting)
  expect(heard).toMatchObject(notice(first, 'approved', 'go on'))
  // The hub itself says it: what an agent sends under this type has a sender.
  expect(heard.from).toBeUndefined()
  expect((await pay(h, a, 1)).status).toBe(200)
  expect(await h.pumped(b.receive(0))).toMatchObject([{ type: 'pay', body: { amount: 1 } }])
  // Confirmed, so no change of the rules takes it back.
  expect(await h.pumped(b.receive(0))).toEqual([])

  const second = await askedBy(h, a, 2)
  await answer(h, second, false, 'too much')
  expect(await h.pumped(a.next())).toMatchObject(notice(second, 'rejected', 'too much'))

  const third = await askedBy(h, a, 3)
  await h.clock.advance(35_000)
  expect(await h.pumped(a.next())).toMatchObject(notice(third, 'expired'))

  // One waits and one has a yes that was told already: only the first is told that the rules have changed.
  const fourth = await askedBy(h, a, 4)
  const fifth = await askedBy(h, a, 5)
  await answer(h, fourth, true)
  expect(await h.pumped(a.next())).toMatchObject(notice(fourth, 'approved'))
  await changeRules(h)
  const anew = await h.pumped(a.next())
  expect(anew).toMatchObject(notice(fifth, 'superseded'))
  await h.clock.advance(6_000)
  expect(await h.pumped(a.receive(0))).toEqual([])
  expect((await pay(h, a, 4)).body).toMatchObject({
    code: 'needs_approval',
    approval: expect.not.stringContaining(fourth),
  })

  // Neither the other agent of the same rights nor the recipient heard of any of it.
  expect(await h.pumped(c.receive(0))).toEqual([])
  expect(await h.pumped(b.receive(0))).toEqual([])
})

test('after kill -9 what was answered and not used is told again and marked, under the same id; nothing else is [ask-12]', async () => {
  await using h = await createHarness({ agents })
  const [a, , b] = await h.bring('a', 'c', 'b')
  asking(h)
  const [used, unheard, open] = [await askedBy(h, a, 1), await askedBy(h, a, 2), await askedBy(h, a, 3)]
  await answer(h, used, true)
  expect((await pay(h, a, 1)).status).toBe(200)
  await answer(h, unheard, false, 'no')
  await h.kill()
  await h.start()
  asking(h)
  const again = await h.pumped(a.next())
  expect(again).toMatchObject({ ...notice(unheard, 'rejected', 'no'), redelivered: true })
  await answer(h, open, true)
  const last = await h.pumped(a.next())
  expect(last).toMatchObject(notice(open, 'approved'))
  expect(last.redelivered).toBeUndefined()
  expect(await h.pumped(a.receive(0))).toEqual([])
  expect((await h.pumped(b.receive(0))).filter(({ type }) => type === 'approval.answered')).toEqual([])
})

test('a message that a yes admitted goes back to its sender when the rules change before it is taken, and a person is asked anew [ask-3]', async () => {
  await using h = await createHarness({ agents })
  const [a, , b] = await h.bring('a', 'c', 'b')
  asking(h)
  const approval = await askedBy(h, a, 1)
  await answer(h, approval, true)
  const { id } = (await pay(h, a, 1)).body
  await changeRules(h)
  expect(await h.pumped(b.receive(0))).toEqual([])
  const back = await h.pumped(a.next(({ kind }) => kind === 'refused'))
  expect(back).toMatchObject({ correlationId: id, body: { code: 'needs_approval', returned: true } })
  expect(back.body.detail).toBe(
    'a person has to agree first: pay?; the rules changed before its receiver had confirmed it',
  )
  const again = (await pay(h, a, 1)).body
  expect(again).toMatchObject({ code: 'needs_approval', approval: expect.not.stringContaining(approval) })
  await answer(h, String(again.approval), true)
  expect((await pay(h, a, 1)).status).toBe(200)
  expect(await h.pumped(b.receive(0))).toMatchObject([{ body: { amount: 1 } }])
})

test('a broadcast is one act: one approval for all who would get it, nobody before the yes, and each once after it [ask-2, ask-8]', async () => {
  await using h = await createHarness({
    agents: {
      a: { script: puppet, card: { messages, may: { message: ['b', 'c'] } }, policy: { broadcast: true } },
      b: { script: puppet, card: { messages } },
      c: { script: puppet, card: { messages } },
      d: { script: puppet, card: { messages } },
    },
  })
  const [a, c, d, b1, b2] = await h.bring('a', 'c', 'd', 'b', 'b')
  askWhere(h.hub.guard, ({ operation, resource }) =>
    operation === 'message.send' && (resource.to as { agent: string }).agent === 'b' ? 'b is told?' : undefined,
  )
  const cry = (n: number) => h.pumped(a.send({ kind: 'broadcast', to: 'all', type: 'pay', body: { n } }))
  const refused = await cry(1)
  expect(refused.body).toMatchObject({ code: 'needs_approval' })
  const waiting = h.hub.guard.approvals.list(false)
  expect(waiting).toMatchObject([{ id: refused.body.approval, resource: 'all' }])
  expect(JSON.parse(String(waiting[0]?.bound)).facts).toEqual({
    kind: 'broadcast',
    type: 'pay',
    to: { agents: ['b', 'c'] },
  })
  expect(await h.pumped(c.receive(0))).toEqual([])
  await answer(h, String(refused.body.approval), true)
  expect((await cry(2)).body.code).toBe('needs_approval')
  const before = h.audit().length
  expect((await cry(1)).body).toMatchObject({ outcome: 'accepted', delivered: 3, refused: 1 })
  for (const one of [b1, b2, c]) expect(await h.pumped(one.receive(0))).toMatchObject([{ body: { n: 1 } }])
  expect(await h.pumped(d.receive(0))).toEqual([])
  const records = h
    .audit()
    .slice(before)
    .filter(({ action }) => action === 'message.sent')
  expect(records.map(({ outcome, reason }) => [outcome, reason.includes(`approval ${refused.body.approval}`)])).toEqual(
    [
      ['refused', false],
      ['ok', true],
      ['ok', true],
      ['ok', false],
    ],
  )
  expect((await cry(1)).body).toMatchObject({ code: 'needs_approval' })
})

test('a question that is told again is not asked about again, and its answer comes again [ask-8]', async () => {
  await using h = await createHarness({ agents })
  const [a] = await h.bring('a')
  askWhere(h.hub.guard, ({ operation }) => (operation === 'task.ask' ? 'may it ask?' : undefined))
  const question = { id: a.newId(), kind: 'ask', body: { text: 'Well?' } } as const
  const refused = await h.pumped(a.send(question))
  await answer(h, String(refused.body.approval), true)
  expect((await h.pumped(a.send(question))).status).toBe(200)
  const [open] = h.hub.guard.approvals.list(false)
  await answer(h, String(open?.id), true, 'well')
  for (let time = 0; time < 2; time += 1) {
    expect((await h.pumped(a.next(({ kind }) => kind === 'reply'))).body).toEqual({ approved: true, text: 'well' })
    expect((await h.pumped(a.send(question))).status).toBe(200)
  }
  expect(h.hub.guard.approvals.list(true)).toHaveLength(2)
})
