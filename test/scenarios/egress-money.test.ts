/** Calls of models through the whole gateway, counted by the model server itself: reserved, capped, settled once, also over a kill (E8, E9). */
import { expect, test } from 'vitest'
import type { ApprovalView } from '../../hub/protocol/views.ts'
import { freePort } from '../support/free-port.ts'
import { createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'
import { CANARY, callModel as call, declared, writeKey } from '../support/models/model-call.ts'
import { type ModelServer, startModelServer } from '../support/models/model-server.ts'
import { FORM, onceOf, send } from '../support/plain-http.ts'

async function hubWith(server: ModelServer, usd = 2, may = ['anthropic'], more: object = {}): Promise<Harness> {
  const h = await createHarness({
    agents: { lead: { script: puppet, card: { may: { egress: ['anthropic'] } }, policy: { egress: may } } },
    config: {
      upstreams: declared(server.url),
      budget: { tree: { usd: `${usd} USD` }, ceiling: { tree: { usd: `${2.5 * usd} USD` } } },
      ...more,
    },
  })
  writeKey(h.home)
  return h
}
const money = async (h: Harness, task: string) =>
  (await h.operator('GET', `/v1/budget?task=${task}`)).body as {
    accounts: { scope: string; spentUsd: number; estimatedUsd: number; heldUsd: number }[]
    calls: { state: string; usd: number; reservedUsd: number }[]
  }
const tree = async (h: Harness, task: string) => (await money(h, task)).accounts.find(({ scope }) => scope === 'tree')

test('a call costs what the model server counted, to the millionth of a dollar, whatever the agent asks [E8]', async () => {
  await using server = await startModelServer(() => ({ text: 'good day', usage: { input: 11, output: 7 } }))
  await using h = await hubWith(server)
  const [lead] = await h.bring('lead')
  const task = lead.joined?.task.task ?? ''
  for (const stream of [false, true]) {
    const { status, text } = await h.pumped(call(h, lead, { stream }).done)
    expect({ status, text }).toMatchObject({ status: 200, text: expect.stringContaining('good day') })
  }
  await h.until(async () => (await money(h, task)).calls.every(({ state }) => state === 'measured'), 'both are settled')
  // claude-haiku-4-5: 1 USD a million in, 5 USD out.
  expect(await tree(h, task)).toMatchObject({ spentUsd: 2 * (11 * 1 + 7 * 5), estimatedUsd: 0, heldUsd: 0 })
  expect(server.came[0]?.headers).toMatchObject({ 'x-api-key': CANARY })
  const actions = h.audit().filter(({ action }) => action.startsWith('egress.'))
  expect(actions.map(({ action }) => action)).toEqual([
    'egress.requested',
    'egress.settled',
    'egress.requested',
    'egress.settled',
  ])
  expect(JSON.stringify(actions)).not.toContain('hello')
})

test('twenty calls at once on money for few never spend more than there is; a refusal is one request [E8]', async () => {
  await using server = await startModelServer(() => ({ text: 'x', usage: { input: 10, output: 100 } }))
  // Each reserves some 1 000 of these at its worst.
  await using h = await hubWith(server, 0.004)
  const [lead] = await h.bring('lead')
  const task = lead.joined?.task.task ?? ''
  const all = await h.pumped(Promise.all(Array.from({ length: 20 }, () => call(h, lead).done)))
  const passed = all.filter(({ status }) => status === 200).length
  expect(passed).toBe(server.came.length)
  expect(passed).toBeGreaterThan(0)
  expect(all.filter(({ status }) => status === 402)).toHaveLength(20 - passed)
  const spent = (await tree(h, task))?.spentUsd ?? 0
  expect(spent).toBe(passed * (10 * 1 + 100 * 5))
  expect(spent).toBeLessThanOrEqual(4000)
})

test('a hub that is killed in the middle of an answer settles it at its reserve, once [E9]', async () => {
  await using server = await startModelServer(() => ({ text: 'a long answer', transport: { stallAfter: 200 } }))
  await using h = await hubWith(server)
  const [lead] = await h.bring('lead')
  const task = lead.joined?.task.task ?? ''
  const { told, done } = call(h, lead, { stream: true })
  await h.until(() => told.text !== '', 'the answer has begun')
  const before = (await money(h, task)).calls[0]
  expect(before).toMatchObject({ state: 'open' })
  await h.kill()
  expect(await done).toMatchObject({ isCut: true })
  await h.start()
  for (const _ of [1, 2]) {
    expect((await money(h, task)).calls).toMatchObject([{ state: 'estimated', usd: before?.reservedUsd }])
    expect(await tree(h, task)).toMatchObject({ estimatedUsd: before?.reservedUsd, heldUsd: 0 })
    await h.kill()
    await h.start()
  }
})

test('where only the bytes of its input are too many, the provider counts them first; what is too long all the same is never sent', async () => {
  await using server = await startModelServer(() => ({ text: 'read' }))
  await using h = await hubWith(server)
  const [lead] = await h.bring('lead')
  const task = lead.joined?.task.task ?? ''
  const ask = (bytes: number) => {
    const messages = [{ role: 'user', content: 'x'.repeat(bytes) }]
    return h.pumped(call(h, lead, { messages, stream: true, metadata: { user_id: 'u' } }).done)
  }
  // One call may take 50 000 tokens; the server counts a quarter of the bytes.
  expect((await ask(60_000)).status).toBe(200)
  expect(server.came.map(({ url }) => url)).toEqual(['/v1/messages/count_tokens', '/v1/messages'])
  const [counted] = server.came
  expect(counted?.headers['x-api-key']).toBe(CANARY)
  // Real endpoints refuse what they do not count.
  expect(Object.keys(JSON.parse(String(counted?.bytes)))).toEqual(['model', 'messages'])
  await h.until(async () => (await money(h, task)).calls[0]?.state === 'measured', 'it is settled')

  const refused = await ask(300_000)
  expect(refused).toMatchObject({ status: 402, text: expect.stringMatching(/budget_exceeded: tokens of one call/) })
  expect(server.came.map(({ url }) => url).slice(2)).toEqual(['/v1/messages/count_tokens'])
  await h.until(
    () => h.audit().some(({ effect }) => /^anthropic free POST 200;/.test(effect ?? '')),
    'what was asked is on record',
  )
})

test('nothing is counted for an agent that may not ask: the rules come first', async () => {
  await using server = await startModelServer()
  await using h = await hubWith(server, 2, ['anthropic:free'])
  const [lead] = await h.bring('lead')
  const messages = [{ role: 'user', content: 'x'.repeat(60_000) }]
  expect((await h.pumped(call(h, lead, { messages }).done)).status).toBe(402)
  expect(server.came).toEqual([])
})

test('S2-30: at half, four fifths and all of the money of a tree its sessions get mail and the operator an alert; another tree hears nothing', async () => {
  // 5 dollars for a million out: 2500 millionths a call, and with its input 4100 at worst.
  await using server = await startModelServer(() => ({ text: 'x', usage: { input: 0, output: 500 } }))
  await using h = await hubWith(server, 0.02)
  const [lead, other] = [(await h.bring('lead'))[0], (await h.bring('lead'))[0]]
  const root = lead.joined?.task.task ?? ''
  const marks: unknown[] = []
  for (let n = 0; n < 8; n += 1) {
    const { status, text } = await h.pumped(
      call(h, lead, { max_tokens: 500, messages: [{ role: 'user', content: `${n}` }] }).done,
    )
    // No answer is changed to say it.
    expect(status === 200 ? JSON.parse(text).content : 'refused').toEqual(
      status === 200 ? [{ type: 'text', text: 'x' }] : 'refused',
    )
    for (const { type, body } of (await h.pumped(lead.receive(0))) as never as Record<string, unknown>[])
      marks.push([n, status, type, (body as { of: string }).of, (body as { mark: number }).mark])
  }
  expect(marks).toEqual([
    [3, 200, 'budget.low', 'tree', 50],
    [6, 200, 'budget.low', 'tree', 80],
    [7, 402, 'budget.low', 'tree', 100],
  ])
  expect(await h.pumped(other.receive(0))).toEqual([])
  const { alerts } = (await h.operator('GET', '/v1/alerts')).body as { alerts: { cause: string; text: string }[] }
  expect(
    alerts
      .map(({ cause }) => cause)
      .filter((cause) => cause.startsWith('budget_low'))
      .sort(),
  ).toEqual([100, 50, 80].map((mark) => `budget_low:${root}:${mark}`))
})

test('S2-30: at four fifths of its money a person is asked whether a tree may spend more: a yes raises it once and never above the ceiling, a no holds, and its end ends the question', async () => {
  const port = await freePort()
  // 2500 millionths a call, and 4100 at worst; the ceiling is 0.05.
  await using server = await startModelServer(() => ({ text: 'x', usage: { input: 0, output: 500 } }))
  const reach = { http: { port }, reach: { publicUrl: 'https://hub.example.net' } }
  await using h = await hubWith(server, 0.02, ['anthropic'], reach)
  const [lead] = await h.bring('lead')
  const root = lead.joined?.task.task ?? ''
  let nth = 0
  async function spend(agent: TestAgent, times: number): Promise<number[]> {
    const statuses: number[] = []
    for (let n = 0; n < times; n += 1) {
      nth += 1
      const messages = [{ role: 'user', content: `${nth}` }]
      statuses.push((await h.pumped(call(h, agent, { max_tokens: 500, messages }).done)).status)
    }
    return statuses
  }
  const waiting = async () =>
    ((await h.operator('GET', '/v1/approvals')).body as { approvals: ApprovalView[] }).approvals
  const limit = async () => ((await tree(h, root)) as { limitUsd?: number }).limitUsd
  const answer = (id: string, approve: boolean) =>
    h.operator('POST', `/v1/approvals/${id}/answer`, { approve, text: '' })

  await spend(lead, 6)
  expect(await waiting()).toEqual([])
  expect(await spend(lead, 1)).toEqual([200])
  const [first] = await waiting()
  const question = `Task ${root.slice(-8)} has spent 0.0175 of 0.02 USD. May it spend 0.02 more?`
  expect(first).toMatchObject({ kind: 'budget', task: root, agent: 'lead', operation: null, question })
  const id = first?.id ?? ''
  const { alerts } = (await h.operator('GET', '/v1/alerts')).body as { alerts: { cause: string; text: string }[] }
  const alert = alerts.find(({ cause }) => cause === `approval:${id}`)
  expect(alert?.text.split('\n').slice(0, 4)).toEqual([question, '', `Yes: hub approve ${id}`, `No:  hub reject ${id}`])

  // On the phone: the same words, and two buttons.
  const link = `/approve/${h.hub.guard.approvals.linkOf(`approval:${id}`)}`
  const page = (method: string, body?: string) =>
    h.pumped(
      send(port, {
        ...{ method, path: link, headers: { host: 'hub.example.net', ...(body === undefined ? {} : FORM) } },
        ...(body === undefined ? {} : { body }),
      }),
    )
  const shown = await page('GET')
  expect(shown.text).toContain('More money?')
  expect(shown.text).toContain(question)
  const said = await page('POST', `answer=yes&once=${onceOf(shown.text)}`)
  expect(said.text).toContain('raised by that amount, once')
  expect(await limit()).toBe(40_000)
  expect((await answer(id, true)).body).toMatchObject({ code: 'already_resolved' })
  expect(await limit()).toBe(40_000)
  expect(h.audit().at(-2)).toMatchObject({
    action: 'approval.answered',
    effect: `task:${root}; the tree has 0.02 USD more: 0.04 USD in all`,
  })

  // Four fifths of the new limit: asked anew, for what the ceiling leaves.
  expect(await spend(lead, 6)).toEqual(Array(6).fill(200))
  const [second] = await waiting()
  expect(second?.question).toBe(`Task ${root.slice(-8)} has spent 0.0325 of 0.04 USD. May it spend 0.01 more?`)
  expect((await answer(second?.id ?? '', false)).status).toBe(200)
  expect(await spend(lead, 3)).toEqual([200, 200, 402])
  expect([await limit(), await waiting()]).toEqual([40_000, []])

  const [other] = await h.bring('lead')
  await spend(other, 7)
  const [third] = await waiting()
  const task = other.joined?.task.task ?? ''
  expect(third?.task).toBe(task)
  await h.operator('POST', `/v1/tasks/${task}/cancel`)
  await h.until(async () => (await waiting()).length === 0, 'the question has ended with its task')
  expect((await answer(third?.id ?? '', true)).body).toMatchObject({
    code: 'already_resolved',
    detail: expect.stringContaining(`hub task retry ${task.slice(-8)}`),
  })
})

test('E8: one cent stops a tree of three before it is passed, and says so to the agents, the operator, status, the console and the log', async () => {
  const port = await freePort()
  // 2500 millionths a call, and 4100 at worst.
  await using server = await startModelServer(() => ({ text: 'x', usage: { input: 0, output: 500 } }))
  const reaching = (delegate: string[]) => ({
    ...{ script: puppet, card: { may: { egress: ['anthropic'], delegate } } },
    policy: { egress: ['anthropic'], delegate },
  })
  const row = reaching(['second', 'third'])
  await using h = await createHarness({
    agents: {
      lead: { ...row, policy: { ...row.policy, budget: { tree: { usd: '0.01 USD' } } } },
      ...{ second: reaching(['third']), third: reaching([]) },
    },
    config: { http: { port }, upstreams: declared(server.url) },
  })
  writeKey(h.home)
  const [lead] = await h.bring('lead')
  const all = [lead]
  for (const name of ['second', 'third']) {
    await h.pumped((all.at(-1) as TestAgent).send({ kind: 'delegate', body: { agent: name } }))
    await h.until(() => h.started.find(({ agent }) => agent === name)?.token, `${name} joins`)
    all.push(h.started.find(({ agent }) => agent === name) as TestAgent)
  }
  const root = lead.joined?.task.task ?? ''
  const third = all[2]?.joined?.task.task ?? ''
  const told: { status: number; text: string }[] = []
  for (const agent of [...all, ...all])
    told.push(await h.pumped(call(h, agent, { max_tokens: 500, temperature: told.length / 100 }).done))
  await h.until(async () => (await tree(h, root))?.heldUsd === 0, 'all is settled')
  expect(told.map(({ status }) => status)).toEqual([200, 200, 200, 402, 402, 402])
  expect(await tree(h, root)).toMatchObject({ spentUsd: 3 * 2500, limitUsd: 10_000 })
  expect(server.came).toHaveLength(3)
  // The agent whose call it was: in the provider's own form. Every agent of the tree: by mail, each mark once.
  expect(JSON.parse(told[3]?.text ?? '')).toMatchObject({
    type: 'error',
    error: {
      type: 'billing_error',
      message: expect.stringMatching(
        /^budget_exceeded: money of this task and everything below it: the limit is 0\.01 USD, 0\.0075 USD are used/,
      ),
    },
  })
  for (const agent of all) {
    const mail = (await h.pumped(agent.receive(0))) as never as { type: string; body: object }[]
    expect(mail.filter(({ type }) => type === 'budget.low').map(({ body }) => body)).toMatchObject([
      { of: 'tree', mark: 50, limitUsd: 10_000, spentUsd: 5000 },
      { of: 'tree', mark: 100, limitUsd: 10_000, spentUsd: 7500 },
    ])
  }
  // The operator.
  const { alerts } = (await h.operator('GET', '/v1/alerts')).body as { alerts: { cause: string; text: string }[] }
  expect(alerts.find(({ cause }) => cause === `budget_low:${root}:100`)?.text).toContain(
    `Task ${root} and everything below it: what is left of 0.01 USD is too little for the next call, and it was refused`,
  )
  // What `hub status` and `hub task show` read, and the console by its own right to look.
  const link = String((await h.operator('POST', '/v1/console', { rights: ['view'] })).body.url)
  const origin = `http://127.0.0.1:${port}`
  const joined = await h.pumped(
    send(port, {
      ...{ method: 'POST', path: '/console/session', body: JSON.stringify({ code: link.split('#')[1] }) },
      headers: { host: new URL(origin).host, origin, 'content-type': 'application/json' },
    }),
  )
  const secret = String((JSON.parse(joined.text) as { secret: string }).secret)
  const seen = async (path: string) => {
    const own = (await h.operator('GET', path)).body
    const { status, text } = await h.pumped(send(port, { path, headers: { authorization: `Bearer ${secret}` } }))
    expect({ status, body: JSON.parse(text) }, path).toEqual({ status: 200, body: own })
    return own
  }
  expect(await seen('/v1/budget')).toMatchObject({
    ...{ declared: ['anthropic'], accounts: [{ scope: 'day', spentUsd: 7500, calls: 3 }, {}, {}, {}], waiting: 0 },
    nearest: { scope: 'tree', key: root, measure: 'usd', used: 7500, limit: 10_000 },
  })
  expect((await seen(`/v1/tasks/${third}`)).money).toMatchObject({
    task: { spentUsd: 2500, calls: 1, limitUsd: null },
    tree: { key: root, spentUsd: 7500, calls: 3, limitUsd: 10_000 },
  })
  // The log.
  const records = h.audit()
  expect(
    records.filter(({ outcome, reason }) => outcome === 'refused' && /^budget_exceeded: money/.test(reason ?? '')),
  ).toHaveLength(3)
  expect(records.map(({ effect }) => effect ?? '')).toContainEqual(
    expect.stringMatching(/^a call was refused: 100 % of tree \(0\.01 USD\) is used/),
  )
})
