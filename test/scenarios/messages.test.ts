import { describe, expect, test } from 'vitest'
import { SENDER_BYTES_MAX } from '../../hub/work/messages/mailboxes.ts'
import { type AgentSpec, createHarness, type Harness, puppet, worker } from '../support/hub-harness.ts'
import type { Answer } from '../support/signing-client.ts'

const say = { sends: { say: null, note: null }, receives: { say: null, note: null } }
const talker = (message: string[], more: Partial<AgentSpec> = {}): AgentSpec => ({
  script: puppet,
  card: { messages: say, may: { message, topics: ['news'] } },
  ...more,
})
const trio = (): Record<string, AgentSpec> => ({
  alice: talker(['bob', 'carol'], { policy: { broadcast: true } }),
  bob: talker(['alice']),
  carol: talker([]),
})
const code = ({ status, body }: Answer) => (status < 300 ? 'ok' : String(body.code))
const lastAudit = (h: Harness, action: string) => h.audit().findLast((row) => row.action === action)
const nonces = (h: Harness) => h.hub.guard.nonces.size()

describe('requests and replies', () => {
  test('a request reaches its recipient under the name of its sender, and the reply comes back', async () => {
    await using h = await createHarness({ agents: trio() })
    const [alice, bob] = await h.bring('alice', 'bob')
    const asking = alice.request('agent:bob', 'say', { text: 'well?' })
    const got = await h.pumped(bob.next())
    expect(got).toMatchObject({
      kind: 'message',
      messageKind: 'request',
      type: 'say',
      from: { agent: 'alice', session: alice.session },
      body: { text: 'well?' },
    })
    expect(code(await h.pumped(bob.reply(got, { text: 'well.' })))).toBe('ok')
    expect(await h.pumped(asking)).toEqual({ text: 'well.' })
    expect(lastAudit(h, 'message.sent')).toMatchObject({
      outcome: 'ok',
      resource: `session:${bob.session}`,
      principal: `agent:alice/${alice.session}`,
    })
    expect(lastAudit(h, 'message.sent')?.payload_hash).toMatch(/^[0-9a-f]{64}$/)
  })

  test('S1-63: a class of data reaches the rules and the recipient; a message without one is judged as ever', async () => {
    await using h = await createHarness({ agents: trio() })
    const [alice, bob] = await h.bring('alice', 'bob')
    const say = { kind: 'request', to: 'agent:bob', type: 'say' } as const
    await h.pumped(alice.say({ ...say, dataClass: 'restricted' }))
    const got = await h.pumped(bob.next())
    expect(got).toMatchObject({ type: 'say', dataClass: 'restricted' })
    await h.pumped(alice.say(say))
    expect(await h.pumped(bob.next())).not.toHaveProperty('dataClass')
    expect(code(await h.pumped(bob.send({ kind: 'reply', correlationId: got.id, dataClass: 'internal' })))).toBe('ok')
    expect((await h.pumped(alice.receive(0)))[0]).toMatchObject({ kind: 'reply', dataClass: 'internal' })
    expect(code(await h.pumped(alice.send({ ...say, dataClass: 'secret' })))).toBe('schema_invalid')
    const seen = h.hub.guard.store
      .prepare("select json_extract(input, '$.resource.dataClass') from decision where input like '%\"message.%'")
      .pluck()
      .all()
    expect(seen.filter((each) => each !== null).sort()).toEqual(['internal', 'restricted'])
  })

  test('an unsolicited reply, a second one, and one from the wrong session are refused (T46)', async () => {
    await using h = await createHarness({ agents: trio() })
    const [alice, bob, carol] = await h.bring('alice', 'bob', 'carol')
    const id = await h.pumped(alice.say({ kind: 'request', to: 'agent:bob', type: 'say' }))
    const got = await h.pumped(bob.next())
    expect(got.id).toBe(id)
    expect(code(await h.pumped(carol.reply(got, {})))).toBe('already_resolved')
    expect(code(await h.pumped(bob.send({ kind: 'reply', correlationId: bob.newId() })))).toBe('already_resolved')
    expect(code(await h.pumped(bob.send({ kind: 'reply' })))).toBe('schema_invalid')
    expect(code(await h.pumped(bob.reply(got, { n: 1 })))).toBe('ok')
    expect(code(await h.pumped(bob.reply(got, { n: 2 })))).toBe('already_resolved')
    const mail = await h.pumped(alice.receive(0))
    expect(mail.map(({ kind, body }) => [kind, body])).toEqual([['reply', { n: 1 }]])
    expect(h.hub.work.tasks.tasks({ limit: 10 })).toHaveLength(3)
  })

  test('a reply past the deadline of its request is refused', async () => {
    await using h = await createHarness({ agents: trio() })
    const [alice, bob] = await h.bring('alice', 'bob')
    await h.pumped(alice.say({ kind: 'request', to: 'agent:bob', type: 'say', timeoutMs: 1000 }))
    const got = await h.pumped(bob.next())
    await h.clock.advance(1001)
    expect(code(await h.pumped(bob.reply(got, {})))).toBe('already_resolved')
  })

  test('a message to an agent that has no session, or to a session that has ended, finds nobody', async () => {
    await using h = await createHarness({ agents: trio() })
    const [alice] = await h.bring('alice')
    expect(code(await h.pumped(alice.send({ kind: 'request', to: 'agent:bob', type: 'say' })))).toBe('inbox_closed')
    const [bob] = await h.bring('bob')
    await h.pumped(bob.result())
    expect(code(await h.pumped(alice.send({ kind: 'request', to: `session:${bob.session}`, type: 'say' })))).toBe(
      'inbox_closed',
    )
  })
})

describe('events and broadcasts', () => {
  test('an event reaches those who subscribed to its topic and nobody else', async () => {
    await using h = await createHarness({ agents: trio() })
    const [alice, bob, carol] = await h.bring('alice', 'bob', 'carol')
    const subscribe = { method: 'POST', path: '/v1/subscribe', body: { topic: 'news' } } as const
    expect(code(await h.pumped(bob.ask(subscribe)))).toBe('ok')
    expect(code(await h.pumped(bob.ask({ ...subscribe, body: { topic: 'secrets' } })))).toBe('policy_denied')
    await h.pumped(alice.say({ kind: 'event', to: 'topic:news', type: 'note', body: { n: 1 } }))
    expect(code(await h.pumped(alice.send({ kind: 'event', to: 'topic:secrets', type: 'note' })))).toBe('policy_denied')
    expect(await h.pumped(bob.receive(0))).toMatchObject([{ topic: 'news', body: { n: 1 }, from: { agent: 'alice' } }])
    expect(await h.pumped(carol.receive(0))).toEqual([])
    expect(await h.pumped(alice.receive(0))).toEqual([])
  })

  test('a broadcast is checked for each recipient: who may get it gets it, the denied are counted and audited (S1-36)', async () => {
    await using h = await createHarness({
      agents: { ...trio(), dora: talker([]) },
    })
    const [alice, bob, carol, dora] = await h.bring('alice', 'bob', 'carol', 'dora')
    const before = h.audit().length
    const answer = await h.pumped(alice.send({ kind: 'broadcast', to: 'all', type: 'note', body: { n: 1 } }))
    expect(answer.body).toMatchObject({ outcome: 'accepted', delivered: 2, refused: 1 })
    expect(await h.pumped(bob.receive(0))).toHaveLength(1)
    expect(await h.pumped(carol.receive(0))).toHaveLength(1)
    expect(await h.pumped(dora.receive(0))).toEqual([])
    expect(await h.pumped(alice.receive(0))).toEqual([])
    const sent = h
      .audit()
      .slice(before)
      .filter(({ action }) => action === 'message.sent')
    expect(sent.map(({ resource, outcome }) => [resource, outcome]).sort()).toEqual(
      [
        [`session:${bob.session}`, 'ok'],
        [`session:${carol.session}`, 'ok'],
        [`session:${dora.session}`, 'refused'],
      ].sort(),
    )
    expect(code(await h.pumped(bob.send({ kind: 'broadcast', to: 'all', type: 'note' })))).toBe('ok')
    expect(await h.pumped(alice.receive(0))).toEqual([])
  })
})

describe('mailboxes', () => {
  test('the 513th unread message is refused as mailbox_full, and the 512 come out in order (T66)', async () => {
    await using h = await createHarness({
      agents: trio(),
      config: { limits: { messages: { perSecond: 50_000 } } },
    })
    const [alice, bob] = await h.bring('alice', 'bob')
    await h.pumped(bob.ask({ method: 'POST', path: '/v1/subscribe', body: { topic: 'news' } }))
    const send = (n: number) => alice.send({ kind: 'request', to: 'agent:bob', type: 'note', body: { n } })
    for (let n = 0; n < 512; n += 1) expect(code(await send(n))).toBe('ok')
    const full = await send(512)
    expect([full.status, full.body.code]).toEqual([429, 'mailbox_full'])
    // An event does not fail for one full subscriber; who missed it is told about.
    expect(code(await alice.send({ kind: 'event', to: 'topic:news', type: 'note' }))).toBe('ok')
    expect(h.events('hub.message.refused.v1').at(-1)?.data).toMatchObject({ code: 'mailbox_full' })
    const seen: unknown[] = []
    while (seen.length < 512) seen.push(...(await h.pumped(bob.receive(0))).map(({ body }) => body.n))
    expect(seen).toEqual(Array.from({ length: 512 }, (_, n) => n))
    expect(code(await send(513))).toBe('ok')
    expect(await h.pumped(bob.receive(0))).toMatchObject([{ body: { n: 513 } }])
  })

  test('fault F6: what one session lets wait is bounded in bytes, refused as mailbox_full, and free again once it is read', async () => {
    await using h = await createHarness({
      agents: trio(),
      config: { limits: { messages: { perSecond: 50_000 } } },
    })
    const [alice, bob] = await h.bring('alice', 'bob')
    const text = 'x'.repeat(60_000)
    const send = () => alice.send({ kind: 'request', to: 'agent:bob', type: 'note', body: { text } })
    let sent = 0
    let answer = await send()
    for (; answer.status === 200 && sent < 512; sent += 1) answer = await send()
    expect([answer.status, answer.body.code]).toEqual([429, 'mailbox_full'])
    expect(answer.body.detail).toContain('your mail that nobody has read yet')
    const { mailboxes } = h.hub.work.messaging
    expect(mailboxes.bytes()).toBeLessThanOrEqual(SENDER_BYTES_MAX)
    // One answer is bounded too.
    expect((await h.pumped(bob.receive(0))).length).toBeLessThanOrEqual(18)
    expect(code(await send())).toBe('mailbox_full')
    for (let read = 17; read < sent; ) read += (await h.pumped(bob.receive(0))).length
    expect(await h.pumped(bob.receive(0))).toEqual([])
    expect(mailboxes.bytes()).toBe(0)
    expect(code(await send())).toBe('ok')
  })

  test('what was not passed by after is offered again', async () => {
    await using h = await createHarness({ agents: trio() })
    const [alice, bob] = await h.bring('alice', 'bob')
    await h.pumped(alice.say({ kind: 'request', to: 'agent:bob', type: 'say', body: { n: 1 } }))
    const peek = () => h.pumped(bob.must({ method: 'GET', path: '/v1/receive?after=0&waitMs=0' }))
    expect((await peek()).body).toEqual((await peek()).body)
    expect(await h.pumped(bob.receive(0))).toHaveLength(1)
    expect(await h.pumped(bob.receive(0))).toEqual([])
  })

  test('a parent whose mailbox is full of mail still hears how its child ended, and the child ends well', async () => {
    await using h = await createHarness({
      agents: {
        lead: { script: puppet, card: { messages: say, may: { delegate: ['child'] } } },
        child: { script: puppet },
        noisy: talker(['lead']),
      },
      config: { limits: { messages: { perSecond: 50_000 } } },
    })
    const [lead, noisy] = await h.bring('lead', 'noisy')
    const id = await h.pumped(lead.delegate({ agent: 'child' }))
    await h.working(3)
    for (let n = 0; n < 512; n += 1) await noisy.say({ kind: 'request', to: 'agent:lead', type: 'note' })
    const child = h.started.find(({ agent }) => agent === 'child')
    await h.pumped(child?.result(42) ?? Promise.reject(new Error('no child')))
    expect(await h.pumped(lead.outcome(id))).toMatchObject({ outcome: 'succeeded', value: 42 })
  })
})

describe('what is refused', () => {
  test('an unknown type and a body against its schema are refused, audited, not delivered, and their nonce is burned (S1-7)', async () => {
    const order = (limits: object) => ({
      type: 'object',
      properties: { count: { type: 'integer', ...limits } },
      required: ['count'],
      additionalProperties: false,
    })
    const out = { sends: { say: null, order: 'order-out.json' }, receives: { say: null } }
    await using h = await createHarness({
      agents: {
        ...trio(),
        alice: talker(['bob'], { policy: { broadcast: true }, card: { messages: out, may: { message: ['bob'] } } }),
        bob: talker(['alice'], {
          card: { messages: { sends: say.sends, receives: { ...say.receives, order: 'order-in.json' } } },
        }),
      },
      schemas: { 'order-out.json': order({ minimum: 0 }), 'order-in.json': order({ maximum: 9 }) },
    })
    const [alice, bob] = await h.bring('alice', 'bob')
    const ordered = (body: Record<string, unknown>) => ({ kind: 'request', to: 'agent:bob', type: 'order', body })
    const bad = [
      // Against what the sender's own card says it sends.
      ordered({ count: -1 }),
      ordered({ count: 'three' }),
      ordered({}),
      ordered({ count: 3, surprise: 1 }),
      // Against what the recipient's card says it takes.
      ordered({ count: 10 }),
      { kind: 'request', to: 'agent:bob', type: 'shout' },
      { kind: 'request', to: 'nobody', type: 'say' },
      { kind: 'request', to: 'topic:news', type: 'say' },
      { kind: 'delegate', to: 'hub', body: { agent: 'bob', surprise: 1 } },
      { kind: 'result', body: { outcome: 'splendid' } },
      { kind: 'shout', to: 'agent:bob' },
    ]
    for (const envelope of bad) {
      const [before, records] = [nonces(h), h.audit().length]
      const answer = await h.pumped(alice.send(envelope as never))
      expect([answer.status, answer.body.code], JSON.stringify(envelope)).toEqual([400, 'schema_invalid'])
      expect(nonces(h) - before).toBe(1)
      const [record, ...more] = h.audit().slice(records)
      expect(more).toEqual([])
      expect(record).toMatchObject({ outcome: 'refused', principal: `agent:alice/${alice.session}` })
      expect(record?.reason).toMatch(/^schema_invalid: ./)
    }
    expect(await h.pumped(bob.receive(0))).toEqual([])
    expect((await h.pumped(alice.send(ordered({ count: 10 }) as never))).body.detail).toBe(
      'body/count must be <= 9 (order as agent bob receives it)',
    )
    expect(code(await h.pumped(alice.send({ kind: 'request', to: 'agent:bob', type: 'say' })))).toBe('ok')
    expect(code(await h.pumped(alice.send(ordered({ count: 3 }) as never)))).toBe('ok')
    expect((await h.pumped(bob.receive(0))).map(({ type, body }) => [type, body])).toEqual([
      ['say', {}],
      ['order', { count: 3 }],
    ])
  })

  test.each([
    ['from', { agent: 'carol', session: 's234567234567234' }],
    ['sender', 'carol'],
    ['session', 's234567234567234'],
    ['principal', { kind: 'operator' }],
    ['agent', 'carol'],
    ['__proto__', { from: 'carol' }],
  ])('a forged sender field %s is refused, never believed (T11)', async (field, value) => {
    await using h = await createHarness({ agents: trio() })
    const [alice, bob] = await h.bring('alice', 'bob')
    const rest = { id: alice.newId(), kind: 'request', to: 'agent:bob', type: 'say', body: {} }
    const body = `${JSON.stringify(rest).slice(0, -1)},${JSON.stringify(field)}:${JSON.stringify(value)}}`
    const answer = await h.pumped(
      alice.ask({ method: 'POST', path: '/v1/send', body, headers: { 'content-type': 'application/json' } }),
    )
    expect(answer.body.code).toBe('schema_invalid')
    expect(await h.pumped(bob.receive(0))).toEqual([])
  })

  test('a repeat of a message is answered with its first outcome and not delivered again', async () => {
    await using h = await createHarness({ agents: trio() })
    const [alice, bob] = await h.bring('alice', 'bob')
    const good = { id: alice.newId(), kind: 'request', to: 'agent:bob', type: 'say' } as const
    expect(code(await h.pumped(alice.send(good)))).toBe('ok')
    expect((await h.pumped(alice.send(good))).body).toMatchObject({ id: good.id, outcome: 'accepted' })
    expect(await h.pumped(bob.receive(0))).toHaveLength(1)
    const bad = { id: bob.newId(), kind: 'request', to: 'agent:carol', type: 'say' } as const
    const [first, second] = [await h.pumped(bob.send(bad)), await h.pumped(bob.send(bad))]
    expect([first.body.code, second.body.code]).toEqual([first.body.code, first.body.code])
    expect(lastAudit(h, 'message.sent')?.reason).toContain('already_resolved')
  })

  test('a denied message is in the audit with its reason and its decision, and an event tells of it (S1-8)', async () => {
    await using h = await createHarness({ agents: trio() })
    const [bob] = await h.bring('bob', 'carol')
    const answer = await h.pumped(bob.send({ kind: 'request', to: 'agent:carol', type: 'say' }))
    expect([answer.status, answer.body.code]).toEqual([403, 'policy_denied'])
    const record = lastAudit(h, 'message.sent')
    expect(record).toMatchObject({ outcome: 'refused', decision_id: answer.body.decisionId })
    expect(record?.reason).toContain('add "carol" to agents.bob.message')
    expect(h.events('hub.message.refused.v1').at(-1)?.data).toMatchObject({ code: 'policy_denied' })
  })

  test('a question without its words is refused, and the task may go on', async () => {
    await using h = await createHarness({
      agents: { solo: { script: worker((agent) => agent.send({ kind: 'ask' }).then(code)) } },
    })
    const id = await h.submit('solo')
    await h.ended(id)
    expect(h.task(id).outcome?.value).toBe('schema_invalid')
  })
})
