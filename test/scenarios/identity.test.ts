import { describe, expect, test } from 'vitest'
import { newNonce, systemRandom } from '../../hub/base/random.ts'
import { openFrameLine } from '../support/frame-line.ts'
import { createHarness, forever, puppet, type TestAgent } from '../support/hub-harness.ts'
import { type Answer, type Ask, createSigningClient } from '../support/signing-client.ts'

const agents = { one: { script: puppet }, two: { script: puppet }, three: { script: puppet } }
const code = ({ status, body }: Answer) => (status < 300 ? 'ok' : `${status} ${String(body.code)}`)
const log = (text: string) => ({ kind: 'log', body: { text } }) as const

describe('a nonce is good once', () => {
  test('a replayed signed request is refused with 409 nonce_used, also after a restart on the same store (T9)', async () => {
    await using h = await createHarness({ agents })
    const [one] = await h.bring('one')
    const send = (nonce: string, timestampMs: number, text: string): Ask => ({
      method: 'POST',
      path: '/v1/send',
      body: { id: one.newId(), ...log(text) },
      nonce,
      timestampMs,
    })
    const captured = [
      send(newNonce(systemRandom), h.clock.wallMs(), 'a'),
      {
        method: 'POST',
        path: '/v1/renew',
        body: {},
        token: null,
        nonce: newNonce(systemRandom),
        timestampMs: h.clock.wallMs(),
      },
    ] as Ask[]
    for (const ask of captured) expect(code(await h.pumped(one.ask(ask)))).toBe('ok')
    const lines = () => h.hub.work.catalogue.journal.linesOf(one.joined?.task.task ?? '')
    for (const how of ['at once', 'stop', 'kill'] as const) {
      if (how !== 'at once') {
        await h[how]()
        await h.start()
      }
      for (const ask of captured)
        expect(code(await h.pumped(one.ask(ask))), `${how} ${ask.path}`).toBe('409 nonce_used')
    }
    expect(lines()).toEqual([])
    expect(code(await h.pumped(one.ask(send(newNonce(systemRandom), h.clock.wallMs(), 'b'))))).toBe('ok')
    expect(lines()).toHaveLength(1)
  })

  test('of fifty equal requests at once exactly one has an effect', async () => {
    await using h = await createHarness({ agents })
    const [one] = await h.bring('one')
    const ask: Ask = {
      method: 'POST',
      path: '/v1/send',
      body: { id: one.newId(), ...log('x') },
      nonce: newNonce(systemRandom),
      timestampMs: h.clock.wallMs(),
    }
    // The socket takes four connections at once; what does not fit is cut off by it and comes again.
    const answers = await h.pumped(Promise.all(Array.from({ length: 50 }, () => one.ask(ask).then(code))))
    expect(answers.filter((answer) => answer === 'ok').length).toBe(1)
    expect(new Set(answers)).toEqual(new Set(['ok', '409 nonce_used']))
    expect(h.hub.work.catalogue.journal.linesOf(one.joined?.task.task ?? '')).toHaveLength(1)
  })

  test('a replayed empty receive is refused', async () => {
    await using h = await createHarness({ agents })
    const [one] = await h.bring('one')
    const ask: Ask = {
      method: 'GET',
      path: '/v1/receive?after=0&waitMs=0',
      nonce: newNonce(systemRandom),
      timestampMs: h.clock.wallMs(),
    }
    expect(code(await h.pumped(one.ask(ask)))).toBe('ok')
    expect(code(await h.pumped(one.ask(ask)))).toBe('409 nonce_used')
  })
})

describe('whose token, whose socket, whose key', () => {
  test('a token passes on the socket of its own session only (T8)', async () => {
    await using h = await createHarness({ agents })
    const all = await h.bring('one', 'two', 'three')
    const ask = (owner: TestAgent, socket: TestAgent) =>
      // Signed by the key that belongs to the socket: only the token is another's.
      // Whoever is stopped for it may not hear the answer any more.
      h.pumped(
        socket
          .ask({ method: 'GET', path: '/v1/receive?after=0&waitMs=0', token: owner.token })
          .then(code, () => 'ended'),
      )
    const answers: Record<string, string> = {}
    for (const owner of all) answers[`${owner.agent} ${owner.agent}`] = await ask(owner, owner)
    expect(new Set(Object.values(answers))).toEqual(new Set(['ok']))
    const [one, two, three] = all
    expect(await ask(two, one)).toMatch(/^401 unauthenticated$|^ended$/)
    expect(h.audit().findLast(({ outcome }) => outcome === 'refused')?.reason).toContain('another session')
    // Alarmed and contained: whoever presents it is stopped, whose token it is goes on (fault F16).
    const of = (agent: TestAgent) => h.task(agent.joined?.task.task ?? '')
    expect(of(one)).toMatchObject({ state: 'failed', error: { code: 'forbidden' } })
    await h.until(() => h.sessionsOf(of(one).id)[0]?.exitReason === 'security', 'its session is recycled')
    expect(JSON.stringify((await h.operator('GET', '/v1/alerts')).body)).toContain('session_stopped:one')
    expect([of(two).state, of(three).state, h.hub.guard.modes.current()]).toEqual(['running', 'running', 'normal'])
    // That of a session that has ended is no more innocent.
    expect(await ask(one, two)).toMatch(/^401 unauthenticated$|^ended$/)
    expect(of(two).state).toBe('failed')
    expect(await ask(three, three)).toBe('ok')
    await h.until(() => h.sessionsOf(of(two).id)[0]?.state === 'recycled', 'that session too')
  })

  test('fault F16, T8: the token of another session in the hello of a fast line stops who says it', async () => {
    await using h = await createHarness({ agents })
    const [one, two] = await h.bring('one', 'two')
    const line = openFrameLine({ ...one, token: two.token })
    await h.pumped(
      line.then(
        () => undefined,
        () => undefined,
      ),
    )
    await h.until(() => h.task(one.joined?.task.task ?? '').state === 'failed', 'it is stopped')
    expect(h.task(two.joined?.task.task ?? '').state).toBe('running')
    await h.until(() => h.sessionsOf(one.joined?.task.task ?? '')[0]?.state === 'recycled', 'its session is recycled')
  })

  test('whatever is wrong before the signature holds, the answer is one constant; the audit knows better', async () => {
    await using h = await createHarness({ agents })
    const [one, two] = await h.bring('one', 'two')
    const receive = { method: 'GET', path: '/v1/receive?after=0&waitMs=0' } as const
    const broken: [string, Ask][] = [
      ['no token', { ...receive, token: null }],
      ['a cut token', { ...receive, token: one.token.slice(0, -4) }],
      ["another's key", { ...receive, key: two.privateKey }],
      ['too old', { ...receive, timestampMs: h.clock.wallMs() - 30_100 }],
      ['from the future', { ...receive, timestampMs: h.clock.wallMs() + 30_100 }],
      ['a short nonce', { ...receive, nonce: 'abc' }],
      [
        'another body',
        { method: 'POST', path: '/v1/send', body: '{}', headers: { 'x-signed-digest': '0'.repeat(64) } },
      ],
    ]
    const bodies = new Set<string>()
    for (const [name, ask] of broken) {
      const records = h.audit().length
      const answer = await one.ask(ask)
      expect(code(answer), name).toBe('401 unauthenticated')
      bodies.add(answer.bytes.toString())
      const [record, ...more] = h
        .audit()
        .slice(records)
        .filter(({ principal }) => principal.startsWith('agent:'))
      expect(more).toEqual([])
      expect(record).toMatchObject({ outcome: 'refused', principal: `agent:one/${one.session} (unproven)` })
      expect(record?.reason.length, name).toBeGreaterThan('unauthenticated: '.length)
    }
    expect([...bodies]).toHaveLength(1)
  })

  test('the same key joining again is a renewal; a second key fails the task and recycles the session', async () => {
    await using h = await createHarness({ agents })
    const [one] = await h.bring('one')
    const first = one.joined
    const again = await h.pumped(one.join())
    expect([again.session, again.task]).toEqual([first?.session, first?.task])
    expect(h.sessionsOf(again.task.task)).toHaveLength(1)

    const { signal } = new AbortController()
    const thief = createSigningClient({ socketPath: one.socketPath, clock: h.clock, ended: signal })
    const answer = await h.pumped(thief.ask({ method: 'POST', path: '/v1/join', body: { publicKey: thief.publicKey } }))
    expect(code(answer)).toBe('401 unauthenticated')
    expect(h.task(again.task.task)).toMatchObject({ state: 'failed', error: { code: 'forbidden' } })
    expect(h.sessionsOf(again.task.task)[0]?.exitReason).toBe('security')
    expect(h.audit().some(({ outcome, reason }) => outcome === 'refused' && reason.includes('second key'))).toBe(true)
    await h.quiet()
  })

  test('before a join nothing is served but the join', async () => {
    await using h = await createHarness({ agents: { shy: { script: forever } } })
    const id = await h.submit('shy')
    await h.until(() => h.sessionsOf(id)[0]?.state === 'starting')
    const [shy] = h.started
    for (const ask of [
      { method: 'POST', path: '/v1/renew', body: {}, token: null },
      { method: 'POST', path: '/v1/send', body: { id: shy?.newId(), ...log('x') }, token: 'a.b.c' },
      { method: 'GET', path: '/v1/receive?after=0&waitMs=0', token: null },
    ] as Ask[])
      expect(code((await shy?.ask(ask)) as Answer)).toBe('401 unauthenticated')
  })
})

describe('after the end', () => {
  test('a token is refused within a second of its container exiting, and its socket is gone after (T12)', async () => {
    await using h = await createHarness({ agents: { one: { script: puppet, card: { restarts: 0 } } } })
    const [one] = await h.bring('one')
    const outside = new AbortController()
    const thief = createSigningClient({ socketPath: one.socketPath, clock: h.clock, ended: outside.signal })
    const stolen = { method: 'POST', path: '/v1/send', token: one.token, key: one.privateKey } as const
    expect(code(await thief.ask({ ...stolen, body: { id: thief.newId(), ...log('x') } }))).toBe('ok')
    const diedAtMs = h.clock.monotonicMs()
    one.container.exit(1)
    await h.until(() => h.sessionsOf(one.joined?.task.task ?? '')[0]?.generation === 2)
    expect(h.clock.monotonicMs() - diedAtMs).toBeLessThan(1000)
    const late = thief.ask({ ...stolen, body: { id: thief.newId(), ...log('y') } }).then(code, () => 'no socket')
    await h.quiet()
    outside.abort()
    expect(['401 unauthenticated', 'no socket']).toContain(await late)
    expect(h.hub.work.catalogue.journal.linesOf(one.joined?.task.task ?? '')).toHaveLength(1)
  })

  test('an exit that no event told of is seen by the reconcile within five seconds (T12)', async () => {
    await using h = await createHarness({ agents: { one: { script: puppet, card: { restarts: 0 } } } })
    const [one] = await h.bring('one')
    await h.kill()
    // Nobody hears this: the hub is down, and the list is away when it comes back.
    one.container.exit(1)
    h.engine.fault('list', 'fail', 1)
    h.engine.fault('waitNextExit', 'fail', 1)
    await h.start()
    const upAtMs = h.clock.monotonicMs()
    await h.until(() => h.task(one.joined?.task.task ?? '').state === 'failed')
    expect(h.clock.monotonicMs() - upAtMs).toBeLessThan(6000)
    await h.quiet()
  })

  test('a result may be handed in once', async () => {
    const answers: Answer[] = []
    await using h = await createHarness({
      agents: {
        // Stays when it is asked to go, so that its second result meets the hub and not a closed door.
        eager: {
          stubborn: true,
          script: async (agent) => {
            await agent.join()
            const first = { id: agent.newId(), kind: 'result', body: { outcome: 'succeeded', value: 1 } } as const
            for (const envelope of [first, first, { kind: 'result', body: { outcome: 'failed' } } as const])
              answers.push(await agent.send(envelope))
          },
        },
      },
    })
    const id = await h.submit('eager')
    await h.quiet()
    expect(answers.map(({ status, body }) => [status, body.code ?? body.outcome])).toEqual([
      [200, 'accepted'],
      [401, 'unauthenticated'],
      [401, 'unauthenticated'],
    ])
    const session = h.sessionsOf(id)[0]?.id ?? ''
    const records = h.audit().filter(({ principal }) => principal.startsWith(`agent:eager/${session}`))
    expect(records.slice(-3).map(({ action, outcome }) => [action, outcome])).toEqual([
      ['task.result_given', 'ok'],
      ['message.sent', 'refused'],
      ['message.sent', 'refused'],
    ])
    expect(records.at(-1)?.reason).toBe('unauthenticated: the session of the token has ended')
    expect(h.task(id)).toMatchObject({ state: 'succeeded', outcome: { value: 1 } })
  })
})

test('a flood is answered 429 with when to come back, and leaves one record in ten seconds (T65)', async () => {
  await using h = await createHarness({
    agents,
    config: { limits: { messages: { perSecond: 10 } } },
  })
  const [one, two] = await h.bring('one', 'two')
  const records = h.audit().length
  const flood = async () => {
    const answers: Answer[] = []
    for (let nth = 0; nth < 60; nth += 1) answers.push(await h.pumped(one.send(log('again')), 1))
    return answers
  }
  const answers = await flood()
  const refused = answers.filter(({ status }) => status === 429)
  expect(refused.length).toBeGreaterThan(30)
  expect(refused.length).toBeLessThan(60)
  expect(refused[0]?.body).toMatchObject({ code: 'rate_limited' })
  expect(Number(refused[0]?.body.retryAfterMs)).toBeGreaterThan(0)
  const ofFlood = () =>
    h
      .audit()
      .slice(records)
      .filter(({ reason }) => reason.startsWith('rate_limited'))
  expect(ofFlood()).toHaveLength(1)
  // Others are served meanwhile.
  expect(code(await two.send(log('me too')))).toBe('ok')
  // A flood takes a part of a second, on a slow machine more: between this and ten there is room for two.
  await h.clock.advance(5000)
  await flood()
  expect(ofFlood()).toHaveLength(1)
  await h.clock.advance(6000)
  await flood()
  expect(ofFlood()).toHaveLength(2)
  await h.clock.advance(2000)
  expect(code(await one.send(log('calm again')))).toBe('ok')
})
