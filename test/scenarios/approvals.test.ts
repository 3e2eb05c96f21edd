/** A rule that asks: the act waits for a person, is admitted once by exactly that approval, and never by silence (S2-26..S2-28, D-R9, fault D14). */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { digestOf } from '../../hub/base/canonical.ts'
import { actOf } from '../../hub/guard/acts.ts'
import { principalOfSession } from '../../hub/work/dispatch/authority.ts'
import { askWhere } from '../support/asking-rules.ts'
import { freePort } from '../support/free-port.ts'
import { createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'
import { FORM, onceOf, send } from '../support/plain-http.ts'

type Row = Record<string, unknown> & { id: string; state: string; question: string; act: string }
const rowsOf = async (h: Harness) => (await h.operator('GET', '/v1/approvals?all=true')).body.approvals as Row[]
const openOf = async (h: Harness) => (await rowsOf(h)).filter(({ state }) => state === 'asked')
const answer = async (h: Harness, id: string | undefined, approve: boolean, text = '') =>
  (await h.operator('POST', `/v1/approvals/${id}/answer`, { approve, text })).body
const taskView = async (h: Harness, id: string) =>
  (await h.operator('GET', `/v1/tasks/${id}`)).body.task as { waitsFor: string | null; attempts: number }
const count = (h: Harness, where: string) =>
  h.hub.guard.store.prepare(`select count(*) from approval where ${where}`).pluck().get() as number
const startsOf = (agent: string) => (input: { operation: string; resource: Record<string, unknown> }) =>
  input.operation === 'task.dispatch' && input.resource.agent === agent ? `${agent} writes to the shop` : undefined
const messages = { sends: { pay: null }, receives: { pay: null } }
/** Six rounds of the dispatcher. */
const aWhile = (h: Harness) => h.clock.advance(6_000)
const openAsk = async (h: Harness) => {
  await h.until(() => count(h, `state = 'asked'`) > 0, 'a person is asked', 200)
  return (await openOf(h))[0] as Row
}

describe('a dispatch that the rules ask about (fault D14)', () => {
  test('waits uncounted and holds up nobody; it starts once after a yes; a crashed try asks again [ask-2, ask-5, ask-6]', async () => {
    let crash = true
    await using h = await createHarness({
      agents: {
        shop: {
          script: worker(() => (crash ? Promise.reject(new Error('crash')) : 'sold')),
          card: { repeatable: true, restarts: 2 },
        },
        echo: { script: worker(() => 'done') },
      },
      config: { limits: { sessions: 4 } },
    })
    askWhere(h.hub.guard, startsOf('shop'))
    const shop = await h.submit('shop', { order: 7 })
    const asked = await openAsk(h)
    expect(asked).toMatchObject({
      ...{
        kind: 'act',
        operation: 'task.dispatch',
        resource: `task:${shop}`,
        task: shop,
        agent: 'shop',
        tier: 'execute',
      },
      ...{ principal: 'hub:dispatcher', question: 'shop writes to the shop', rule: 'hub.home.asks' },
    })
    expect(asked.act).toMatch(/^[0-9a-f]{64}$/)
    expect(await taskView(h, shop)).toMatchObject({
      attempts: 0,
      waitsFor: `it waits for you: \`hub approve ${asked.id}\` or \`hub reject ${asked.id}\`; shop writes to the shop`,
    })
    const [alert] = h.hub.guard.alerts.list()
    expect(alert?.cause).toBe(`approval:${asked.id}`)
    for (const part of [
      'hub:dispatcher',
      'task.dispatch',
      '> shop writes to the shop',
      `hub approve ${asked.id}`,
      asked.act,
      '1d',
    ])
      expect(alert?.text).toContain(part)
    // Others go on, and nothing is asked or recorded a second time.
    const records = () => h.audit().filter(({ action }) => action === 'task.dispatched')
    await h.ended(await h.submit('echo'))
    await aWhile(h)
    expect(records().filter(({ outcome }) => outcome === 'refused')).toMatchObject([
      { resource: `task:${shop}`, effect: `approval:${asked.id}`, reason: expect.stringMatching(/^needs_approval: /) },
    ])
    expect(h.hub.work.supervision.dispatcher.waiting()).toBe(0)
    expect(h.task(shop)).toMatchObject({ state: 'queued', attempts: 0 })

    expect(await answer(h, asked.id, true, 'go')).toMatchObject({
      approval: { state: 'approved', answeredBy: 'operator' },
    })
    await h.until(() => h.task(shop).attempts === 1, 'it starts')
    const ofTask = (await h.operator('GET', `/v1/audit?task=${shop}`)).body.records as { action: string }[]
    expect(ofTask.map(({ action }) => action)).toEqual(
      expect.arrayContaining(['task.submitted', 'task.dispatched', 'approval.answered']),
    )
    expect(records().at(-1)).toMatchObject({
      outcome: 'ok',
      reason: `shop writes to the shop; approval ${asked.id} by operator`,
    })
    // The approval was for one start; the next try is asked about by itself.
    const again = await openAsk(h)
    expect(again.id).not.toBe(asked.id)
    expect((await rowsOf(h)).find(({ id }) => id === asked.id)?.state).toBe('used')
    expect(await answer(h, asked.id, true)).toMatchObject({
      code: 'already_resolved',
      detail: 'the request of hub:dispatcher was already approved and used, with "go"; the first answer counts',
    })
    crash = false
    await answer(h, again.id, true)
    await h.ended(shop)
    expect(h.task(shop).state).toBe('succeeded')
    expect(h.hub.guard.alerts.list()).toEqual([])
  })

  test('ends with a no, with silence on the work clock, or with its task; the hub being held is no silence; X10 [ask-1, ask-7, ask-9]', async () => {
    await using h = await createHarness({
      agents: { shop: { script: puppet } },
      config: { approvals: { execute: { wait: '60s', onTimeout: 'notify' } } },
    })
    askWhere(h.hub.guard, startsOf('shop'))
    const no = await h.submit('shop')
    expect(await answer(h, (await openAsk(h)).id, false, 'not today')).toMatchObject({ approval: { state: 'refused' } })
    expect(h.task(no)).toMatchObject({
      state: 'failed',
      error: { code: 'approval_refused', detail: 'a person said no: not today' },
    })

    const gone = await h.submit('shop')
    const ofGone = await openAsk(h)
    await h.operator('POST', `/v1/tasks/${gone}/cancel`, {})
    expect(await answer(h, ofGone.id, true)).toMatchObject({
      code: 'already_resolved',
      detail: 'what hub:dispatcher asked for is over; nobody waits for this answer any more',
    })
    await h.until(() => count(h, `ending = 'over'`) === 1, 'it ends with its task', 500)

    // Each record that ends one names its task, so that the task's own search finds it.
    expect(h.audit().find(({ action }) => action === 'approval.expired')).toMatchObject({
      resource: `approval:${ofGone.id}`,
      effect: `task:${gone}`,
    })

    const late = await h.submit('shop')
    await openAsk(h)
    // Time in which nothing may start is nobody's wait.
    h.hub.guard.modes.raise('operator_request', 'test')
    await h.clock.advance(300_000)
    expect(h.task(late).state).toBe('queued')
    h.hub.guard.modes.clear('operator_request')
    await h.clock.advance(30_000)
    expect(h.task(late).state).toBe('queued')
    await h.clock.advance(50_000)
    expect(h.task(late)).toMatchObject({
      state: 'failed',
      error: { code: 'approval_refused', detail: 'nobody answered in time, which is a no' },
    })
    const told = h.hub.guard.alerts.list()
    expect(told.map(({ cause }) => cause.split(':')[0])).toEqual(['unanswered'])
    expect((await rowsOf(h)).filter(({ ending }) => ending === 'timed_out')).toHaveLength(1)
  })

  test('is asked about anew when rules or card change, with what changed and the time that was left [ask-3]', async () => {
    await using h = await createHarness({
      agents: { shop: { script: worker(() => 'sold') } },
      config: { approvals: { execute: { wait: '200s' } } },
    })
    askWhere(h.hub.guard, startsOf('shop'))
    const shop = await h.submit('shop')
    const first = await openAsk(h)
    await h.clock.advance(50_000)
    const data = join(h.home, 'policy', 'data.json')
    const rules = JSON.parse(readFileSync(data, 'utf8')) as { agents: Record<string, Record<string, unknown>> }
    writeFileSync(data, JSON.stringify({ agents: { ...rules.agents, other: { ttlMs: 60_000 } } }))
    expect((await h.operator('POST', '/v1/policy/reload', {})).status).toBe(200)
    // The yes to what was asked by other rules is none.
    expect(await answer(h, first.id, true)).toMatchObject({
      code: 'already_resolved',
      detail:
        'the request of hub:dispatcher is about something that has changed since; it is asked anew: `hub approval list`',
    })
    await h.until(() => count(h, `state = 'asked' and id <> '${first.id}'`) === 1, 'it is asked anew')
    const [second] = await openOf(h)
    expect(second?.question).toBe('shop writes to the shop (asked anew, because this changed: rules)')
    expect(Number(second?.leftMs)).toBeGreaterThan(100_000)
    expect(Number(second?.leftMs)).toBeLessThanOrEqual(150_000)

    // Approved, and the card changes before it starts: it does not start by that yes.
    h.hub.guard.modes.raise('engine_unavailable', 'test')
    h.hub.guard.modes.clear('engine_unavailable')
    const card = join(h.home, 'agents', 'shop.yaml')
    const text = JSON.parse(readFileSync(card, 'utf8')) as Record<string, unknown>
    writeFileSync(card, JSON.stringify({ ...text, description: 'another program' }))
    await h.operator('POST', '/v1/agents/reload', {})
    await h.until(() => count(h, `state = 'asked' and id <> '${second?.id}'`) === 1, 'it is asked anew')
    const [third] = await openOf(h)
    expect(third?.question).toBe('shop writes to the shop (asked anew, because this changed: card)')
    expect(h.task(shop).attempts).toBe(0)
    await answer(h, third?.id, true)
    await h.ended(shop)
    expect((await rowsOf(h)).map(({ state, ending }) => ending ?? state)).toEqual(['used', 'superseded', 'superseded'])
  })

  test('a yes outlives kill -9, and is used once by the next run [ask-2]', async () => {
    await using h = await createHarness({ agents: { shop: { script: worker(() => 'sold') } } })
    askWhere(h.hub.guard, startsOf('shop'))
    const shop = await h.submit('shop')
    const { id } = await openAsk(h)
    h.hub.guard.store
      .prepare(`update approval set state = 'approved', answered_by = 'operator', ended_at_ms = 0 where id = ?`)
      .run(id)
    await h.kill()
    await h.start()
    askWhere(h.hub.guard, startsOf('shop'))
    await h.ended(shop)
    expect(await rowsOf(h)).toMatchObject([{ id, state: 'used' }])
  })

  test('by capability too: where the rules ask before an agent is chosen, the start of the chosen one is asked about', async () => {
    await using h = await createHarness({
      agents: {
        one: { script: worker(() => 1), card: { capabilities: ['sell'] } },
        two: { script: worker(() => 2), card: { capabilities: ['sell'] } },
      },
    })
    askWhere(h.hub.guard, ({ operation, resource }) =>
      operation === 'task.dispatch' && resource.agent === null ? 'who sells?' : undefined,
    )
    const { body } = await h.operator('POST', '/v1/tasks', { needs: ['sell'] })
    const { id } = body.task as { id: string }
    const asked = await openAsk(h)
    expect(asked).toMatchObject({ agent: 'one', task: id, question: 'who sells?', rule: 'hub.home.asks' })
    await answer(h, asked.id, true)
    await h.ended(id)
    expect(h.task(id)).toMatchObject({ agent: 'one', state: 'succeeded' })
  })
})

describe('an act of a session or a person that the rules ask about', () => {
  test('is refused with the id of one approval, admitted once after the yes, and never for another content [ask-2, ask-8, ask-9]', async () => {
    const may = { message: ['b'], delegate: ['c'] }
    await using h = await createHarness({
      agents: {
        a: { script: puppet, card: { messages, may } },
        b: { script: puppet, card: { messages } },
        c: { script: worker(() => 'child') },
      },
    })
    const [a, b] = await h.bring('a', 'b')
    askWhere(h.hub.guard, ({ operation, resource }) =>
      operation === 'task.delegate' || (operation === 'message.send' && resource.kind === 'request')
        ? 'money moves'
        : undefined,
    )
    const pay = (amount: number) =>
      h.pumped(a.send({ kind: 'request', to: 'agent:b', type: 'pay', timeoutMs: 60_000, body: { amount } }))
    const refused = await pay(5)
    const [open] = await openOf(h)
    expect(refused).toMatchObject({ status: 403, body: { code: 'needs_approval', approval: open?.id } })
    expect(open).toMatchObject({
      resource: 'agent:b',
      session: a.session,
      tier: 'write',
      agent: 'a',
      leftMs: expect.any(Number),
    })
    expect(Number(open?.leftMs)).toBeLessThanOrEqual(1_800_000)
    // Again, with another id of the message: the same act, and no second approval. Refusals are summed before long.
    const before = h.audit().length
    for (let nth = 0; nth < 30; nth += 1) expect((await pay(5)).body.approval).toBe(open?.id)
    expect(h.audit().length - before).toBeLessThan(15)
    expect(await openOf(h)).toHaveLength(1)
    // Nothing of it is in the recipient's mailbox, and nothing of the content on the disk.
    expect(await h.pumped(b.receive(0))).toEqual([])
    expect(JSON.stringify(await rowsOf(h))).not.toContain('amount')

    await answer(h, open?.id, true)
    const other = await pay(6)
    expect(other.body).toMatchObject({ code: 'needs_approval' })
    expect(other.body.approval).not.toBe(open?.id)
    expect((await pay(5)).status).toBe(200)
    expect(await h.pumped(b.receive(0))).toHaveLength(1)
    expect((await pay(5)).body.code).toBe('needs_approval')

    // A no holds for this session, and nobody is asked a second time.
    await answer(h, String(other.body.approval), false, 'too much')
    const again = await pay(6)
    expect(again).toMatchObject({
      status: 403,
      body: { code: 'approval_refused', detail: 'a person said no: too much', approval: other.body.approval },
    })

    const hire = () => h.pumped(a.send({ kind: 'delegate', to: 'hub', body: { agent: 'c' } }))
    const { approval } = (await hire()).body
    await answer(h, String(approval), true)
    expect((await hire()).status).toBe(200)
    await h.until(() => h.started.some(({ agent }) => agent === 'c'), 'the child starts')

    // What is open ends with the session that asked.
    await h.operator('POST', `/v1/tasks/${a.joined?.task.task}/cancel`, {})
    await h.until(() => count(h, `state = 'asked'`) === 0, 'it ends with its session', 500)
    expect(count(h, `ending = 'over'`)).toBe(1)
  })

  test('a yes to a reply is none to the same words as an answer to something else; nothing restricted can be guessed by its digest [ask-2]', async () => {
    await using h = await createHarness({
      agents: {
        a: { script: puppet, card: { messages, may: { message: ['b'] } } },
        b: { script: puppet, card: { messages } },
      },
    })
    const [a, b] = await h.bring('a', 'b')
    askWhere(h.hub.guard, ({ operation, resource }) =>
      operation === 'message.reply' || resource.dataClass === 'restricted' ? 'sure?' : undefined,
    )
    const pay = { kind: 'request', to: 'agent:b', type: 'pay', timeoutMs: 600_000, body: { amount: 1 } } as const
    await h.pumped(a.say(pay))
    const one = await h.pumped(b.next())
    await h.pumped(a.say(pay))
    const two = await h.pumped(b.next())
    const yes = (to: typeof one) => h.pumped(b.reply(to, { paid: true }))
    const { approval } = (await yes(one)).body
    await answer(h, String(approval), true)
    const other = await yes(two)
    expect(other).toMatchObject({ status: 403, body: { code: 'needs_approval' } })
    expect(other.body.approval).not.toBe(approval)
    expect((await yes(one)).status).toBe(200)

    // The act is stored and told, so nobody who knows all but the body of a restricted message can find it by trying.
    const secretly = () => h.pumped(a.send({ ...pay, dataClass: 'restricted' }))
    const first = (await secretly()).body.approval
    expect((await secretly()).body.approval).toBe(first)
    const row = h.hub.guard.approvals.find(String(first))
    const facts = { kind: 'request', type: 'pay', to: { agent: 'b' }, relation: 'none', dataClass: 'restricted' }
    const session = h.hub.work.tasks.session(a.session)
    const guess = actOf(
      {
        principal: principalOfSession(session as NonNullable<typeof session>),
        operation: 'message.send',
        resource: 'agent:b',
        act: () => ({
          payload: digestOf('hub-message-v1', { kind: 'request', to: 'agent:b', type: 'pay', body: { amount: 1 } }),
          facts,
        }),
      },
      String(row?.revision),
    )
    expect(JSON.parse(String(row?.bound))).toMatchObject({ facts })
    expect(row?.act).not.toBe(guess.act)
    await answer(h, String(first), true)
    expect((await secretly()).status).toBe(200)
  })

  test('a person does the same again after the yes; what answers is never asked about; sixteen wait for one session at most [ask-8, ask-10]', async () => {
    await using h = await createHarness({
      agents: {
        a: { script: puppet, card: { messages, may: { message: ['b'] } } },
        b: { script: puppet, card: { messages } },
      },
    })
    const asks = new Set(['task.submit'])
    askWhere(h.hub.guard, ({ operation }) => (asks.has(operation) ? 'sure?' : undefined))
    const submit = (params: object) => h.operator('POST', '/v1/tasks', { agent: 'a', params })
    const first = await submit({ n: 1 })
    expect(first).toMatchObject({ status: 403, body: { code: 'needs_approval' } })
    const id = String(first.body.approval)
    asks.add('approval.answer')
    h.hub.guard.decisions.forget()
    expect(await answer(h, id, true)).toMatchObject({
      code: 'policy_denied',
      detail: 'a rule asks a person about it, but about approval.answer nobody can be asked, so it is refused: sure?',
    })
    expect(await rowsOf(h)).toHaveLength(1)
    asks.delete('approval.answer')
    h.hub.guard.decisions.forget()
    expect(await answer(h, id, true)).toMatchObject({ approval: { state: 'approved' } })
    expect((await submit({ n: 2 })).body.code).toBe('needs_approval')
    expect((await submit({ n: 1 })).status).toBe(200)
    // People may ask again after a no.
    const [two] = await openOf(h)
    await answer(h, two?.id, false)
    expect((await submit({ n: 2 })).body).toMatchObject({
      code: 'needs_approval',
      approval: expect.not.stringContaining(two?.id ?? ''),
    })

    asks.clear()
    asks.add('message.send')
    h.hub.guard.decisions.forget()
    await h.until(() => h.started.length === 1 && h.started[0]?.token, 'a joins')
    await h.bring('b')
    const [a] = h.started
    const say = (n: number) =>
      h.pumped(a?.send({ kind: 'request', to: 'agent:b', type: 'pay', timeoutMs: 1000, body: { n } }) as never)
    const codes = []
    for (let nth = 0; nth < 18; nth += 1) codes.push(((await say(nth)) as { body: { code: string } }).body.code)
    expect(codes).toEqual([...Array(16).fill('needs_approval'), 'rate_limited', 'rate_limited'])
  })

  test('an agent that says the same under another class of data asks for another act: it supersedes nothing, so sixteen wait at most and nobody is flooded [ask-8]', async () => {
    await using h = await createHarness({
      agents: {
        a: { script: puppet, card: { messages, may: { message: ['b'] } } },
        b: { script: puppet, card: { messages } },
      },
    })
    askWhere(h.hub.guard, ({ operation }) => (operation === 'message.send' ? 'sure?' : undefined))
    const [a] = await h.bring('a', 'b')
    const raised = () => h.events('hub.alert.raised.v1').filter(({ data }) => /^approval:/.test(String(data.cause)))
    for (let nth = 0; nth < 6; nth += 1) {
      const dataClass = nth % 2 === 0 ? 'public' : 'internal'
      const said = { kind: 'request', to: 'agent:b', type: 'pay', timeoutMs: 1000, dataClass, body: { n: 1 } } as const
      await h.pumped(a.send(said))
    }
    expect(count(h, '1')).toBe(2)
    expect(raised()).toHaveLength(2)
    expect(count(h, `state = 'asked'`)).toBe(2)
  })
})

/** Takes every message, and keeps its body. */
async function localSink() {
  const bodies: string[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (part: Buffer) => {
      body += part
    })
    request.on('end', () => {
      bodies.push(body)
      response.end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const place = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    bodies,
    url: `http://${place}/`,
    local: [place],
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

test('a link in a message shows first, answers once by its button, and does nothing else [ask-11]', async () => {
  const port = await freePort()
  const told = await localSink()
  await using h = await createHarness({
    agents: { shop: { script: worker(() => 'sold') } },
    config: {
      http: { port },
      reach: { publicUrl: 'https://hub.example.net' },
      alerts: { channels: [{ kind: 'webhook', url: told.url, local: told.local }, { kind: 'file' }] },
    },
  })
  askWhere(h.hub.guard, startsOf('shop'))
  const shop = await h.submit('shop')
  const { id } = await openAsk(h)
  await h.until(() => told.bodies.length > 0, 'it is told', 200)
  const link = /https:\/\/hub\.example\.net(\/approve\/\S+?)\\n/.exec(told.bodies[0] ?? '')?.[1] ?? ''
  expect(link).toMatch(new RegExp(`^/approve/${id}\\.[\\w-]{43}$`))
  // Only what was sent holds it: no list, no row, no file.
  const kept = JSON.stringify([
    (await h.operator('GET', '/v1/alerts?all=true')).body,
    h.hub.guard.store.prepare('select * from alert_delivery').all(),
    h.hub.guard.store.prepare('select * from approval').all(),
    readFileSync(join(h.home, 'logs', 'alerts.log'), 'utf8'),
  ])
  expect(kept).not.toContain(link.split('.')[1])

  const host = { host: 'hub.example.net' }
  const ask = (method: string, path: string, body?: string, headers = {}) =>
    h.pumped(send(port, { method, path, headers: { ...host, ...headers }, ...(body === undefined ? {} : { body }) }))
  const stateOf = () => h.hub.guard.approvals.find(id)?.state
  const shown = await ask('GET', link)
  expect(shown.status).toBe(200)
  for (const part of [
    'A rule asks you',
    'hub:dispatcher',
    'task.dispatch',
    'shop writes to the shop',
    shop,
    '<dt>Agent</dt><dd>shop</dd>',
    '<dt>What it is about</dt><dd>wanted by: people',
    'width=device-width',
  ])
    expect(shown.text).toContain(part)
  expect(shown.headers).toMatchObject({ 'cache-control': 'no-store', 'x-frame-options': 'DENY' })
  await ask('HEAD', link)
  // Without the field of the page, with another page's, or of another type: nothing is answered.
  for (const body of ['answer=yes', `answer=yes&once=${'0'.repeat(64)}`, `once=${onceOf(shown.text)}`, 'answer=maybe'])
    expect((await ask('POST', link, body, FORM)).text).toContain('A rule asks you')
  expect((await ask('POST', link, '{"answer":"yes"}', { 'content-type': 'application/json' })).status).toBe(400)
  expect(stateOf()).toBe('asked')

  // A wrong secret, the right one of another, none: one answer, slowed and recorded. The right one never waits.
  const secret = link.slice('/approve/'.length)
  const [, tail = ''] = secret.split('.')
  for (const path of [
    `/approve/${id}.${tail.replace(/^./, (one) => (one === 'A' ? 'B' : 'A'))}`,
    `/approve/${shop}.${tail}`,
    '/approve/',
    `/approve/${id}`,
  ]) {
    const wrong = await ask('POST', path, `answer=yes&once=${onceOf(shown.text)}`, FORM)
    expect([wrong.status, Number(wrong.headers['retry-after']) > 0]).toEqual([403, true])
  }
  expect(h.audit().findLast(({ action }) => action === 'approval.answered')).toMatchObject({
    outcome: 'refused',
    principal: 'device:unknown',
  })
  for (const path of ['/v1/approvals', '/v1/tasks', '/console'])
    expect((await ask('GET', path, undefined, { authorization: `Bearer ${secret}` })).status).toBeGreaterThanOrEqual(
      400,
    )
  expect(stateOf()).toBe('asked')

  // A yes widens, and is refused while the hub is safe.
  h.hub.guard.modes.raise('operator_request', 'test')
  const press = async (answer: 'yes' | 'no') =>
    ask('POST', link, `answer=${answer}&text=go&once=${onceOf((await ask('GET', link)).text)}`, FORM)
  expect((await press('yes')).text).toContain('Nothing was done')
  h.hub.guard.modes.clear('operator_request')
  // The value of a secret, typed in, would be stored and shown.
  mkdirSync(join(h.home, 'secrets'), { recursive: true, mode: 0o700 })
  writeFileSync(join(h.home, 'secrets', 'till'), 'kT9-vQ2-wX7-zR4-mB1', { mode: 0o600 })
  const typed = `answer=yes&text=use+kT9-vQ2-wX7-zR4-mB1&once=${onceOf((await ask('GET', link)).text)}`
  expect((await ask('POST', link, typed, FORM)).text).toMatch(/Nothing was done[\s\S]*value of the secret till/)
  expect(stateOf()).toBe('asked')
  const once = onceOf((await ask('GET', link)).text)
  const yes = `answer=yes&text=go&once=${once}`
  const answered = (await ask('POST', link, yes, FORM)).text
  for (const part of ['You said yes', 'The task may start.']) expect(answered).toContain(part)
  expect(h.hub.guard.approvals.find(id)).toMatchObject({ answer: 'go', answeredBy: 'device:link' })
  expect(h.audit().findLast(({ action, outcome }) => action === 'approval.answered' && outcome === 'ok')).toMatchObject(
    {
      resource: `approval:${id}`,
      effect: `task:${shop}`,
    },
  )
  for (const again of [await ask('POST', link, yes, FORM), await ask('GET', link)])
    expect(again.text).toContain('Nothing to answer any more')
  await h.ended(shop)
  told.close()
})
