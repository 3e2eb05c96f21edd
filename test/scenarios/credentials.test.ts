/** What ends a credential, and how soon, over a whole hub: rotation, revocation, renewal, and the death of a container. */
import { describe, expect, test } from 'vitest'
import { openFrameLine } from '../support/frame-line.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'
import { type Answer, type Ask, createSigningClient, type SigningClient } from '../support/signing-client.ts'

const TYPES = { 'a.b': null }
const agents = {
  one: { script: puppet, card: { restarts: 0, may: { message: ['two'] }, messages: { sends: TYPES } } },
  two: { script: puppet, card: { restarts: 0, messages: { receives: TYPES } } },
}
const code = ({ status, body }: Answer) => (status < 300 ? 'ok' : `${status} ${String(body.code)}`)
const log = { kind: 'log', body: { text: 'x' } } as const
/** A signed request with this token, or the agent's own, that does next to nothing. */
const probe = (agent: SigningClient, token = agent.token, key = agent.privateKey): Promise<Answer> =>
  agent.ask({ method: 'POST', path: '/v1/send', body: { id: agent.newId(), ...log }, token, key })
const idOf = (token: string) =>
  (JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { jti: string }).jti
const renewed = (answer: Answer) => String(answer.body.token)
const RENEW: Ask = { method: 'POST', path: '/v1/renew', body: {}, token: null }

describe('rotation of the token keys', () => {
  test('a hundred rotations while agents talk lose no accepted message and refuse none; the old key is refused after the overlap (T14)', async () => {
    await using h = await createHarness({ agents, config: { limits: { messages: { perSecond: 5000 } } } })
    const [one, two] = await h.bring('one', 'two')
    const old = one.token
    let working = true
    const accepted: string[] = []
    const refused: string[] = []
    let renewals = 0
    const talk = async () => {
      while (working) {
        const id = one.newId()
        const answer = await one.send({
          id,
          kind: 'request',
          to: 'agent:two',
          type: 'a.b',
          timeoutMs: 600_000,
          body: {},
        })
        if (answer.status === 200) accepted.push(id)
        else refused.push(code(answer))
        // Its clock stands still, so the quota of renewals does not fill again: a burst of them is 20.
        if (accepted.length % 7 === 0 && renewals < 15) {
          renewals += 1
          await one.renew()
        }
      }
    }
    const heard: string[] = []
    const listen = async () => {
      while (working) for (const { id } of await two.receive(0)) heard.push(id)
      for (const { id } of await two.receive(0)) heard.push(id)
    }
    const load = Promise.all([talk(), talk(), talk(), listen()])
    for (let nth = 0; nth < 100; nth += 1) expect((await h.operator('POST', '/v1/keys/rotate', {})).status).toBe(200)
    await h.until(() => accepted.length > 100 && renewals === 15, 'they have talked enough')
    working = false
    await h.pumped(load)
    expect(refused).toEqual([])
    expect(accepted.length).toBeGreaterThan(100)
    expect(renewals).toBe(15)
    expect([...new Set(heard)].sort()).toEqual([...accepted].sort())
    expect(h.audit().filter(({ action }) => action === 'keys.rotated')).toHaveLength(100)
    expect(h.sessionsOf(one.joined?.task.task ?? '')).toHaveLength(1)

    const { body } = await h.operator('GET', '/v1/keys')
    expect((body.keys as { state: string }[]).filter(({ state }) => state === 'previous')).toHaveLength(100)
    expect(JSON.stringify(body)).not.toContain('PRIVATE')
    expect(code(await probe(one, old))).toBe('ok')
    await h.clock.advance(331_000)
    expect(code(await probe(one, old))).toBe('401 unauthenticated')
    expect(h.audit().at(-1)?.reason).toContain('unknown key')
    await h.pumped(one.renew())
    expect(code(await one.send(log))).toBe('ok')
    await h.stop()
    await h.start()
    expect(code(await h.pumped(one.send(log)))).toBe('ok')
  })
})

describe('revocation by the operator (S1-45)', () => {
  test('a revoked session is refused at the next message, its open fast line is closed, its task fails, and the session goes', async () => {
    await using h = await createHarness({ agents: { ...agents, one: { ...agents.one, stubborn: true } } })
    const [one, two] = await h.bring('one', 'two')
    const line = await h.pumped(openFrameLine(one))
    await h.pumped(one.renew())
    // Its evidence is still being taken while it tries: a container that is gone asks nothing.
    h.engine.fault('pause', 'stall')
    const { status, body } = await h.operator('POST', `/v1/sessions/${one.session}/revoke`, {})
    expect([status, (body.session as { exit: string }).exit]).toEqual([200, 'security'])
    expect(code(await one.send(log))).toBe('401 unauthenticated')
    expect(h.audit().at(-1)?.reason).toContain('session of the token has ended')
    expect(code(await one.ask(RENEW))).toBe('401 unauthenticated')
    await h.until(() => line.closed !== undefined)
    expect(line.closed).toBe(4410)
    // At once, and not only when its stubborn container is gone.
    expect(h.engine.containers.size).toBe(2)
    expect(h.task(one.joined?.task.task ?? '')).toMatchObject({ state: 'failed', error: { code: 'forbidden' } })
    expect(h.audit().some(({ action, outcome }) => action === 'session.revoked' && outcome === 'ok')).toBe(true)
    expect(code(await two.send(log))).toBe('ok')
    await h.until(() => h.sessionsOf(one.joined?.task.task ?? '')[0]?.state === 'recycled')
    const again = await h.operator('POST', `/v1/sessions/${one.session}/revoke`, {})
    expect(again.body.code).toBe('already_resolved')
  })

  test('one denied token is refused at once and after a restart, its session goes on with a new one', async () => {
    await using h = await createHarness({ agents })
    const [one] = await h.bring('one')
    const leaked = one.token
    const line = await h.pumped(openFrameLine(one))
    expect(code(await probe(one, leaked))).toBe('ok')
    const path = `/v1/sessions/${one.session}/revoke`
    expect((await h.operator('POST', path, { jti: 'short' })).body.code).toBe('schema_invalid')
    expect((await h.operator('POST', path, { jti: idOf(leaked) })).status).toBe(200)
    expect(h.audit().findLast(({ action }) => action === 'session.revoked')?.effect).toBe(`token:${idOf(leaked)}`)
    await h.until(() => line.closed !== undefined)
    expect(line.closed).toBe(4410)
    for (const how of ['at once', 'after a restart'] as const) {
      if (how !== 'at once') {
        await h.stop()
        await h.start()
      }
      const answer = await h.pumped(probe(one, leaked))
      expect(code(answer), how).toBe('401 unauthenticated')
      expect(h.audit().findLast(({ outcome }) => outcome === 'refused')?.reason).toContain('deny list')
    }
    await h.pumped(one.renew())
    expect(code(await h.pumped(one.send(log)))).toBe('ok')
    expect(h.sessionsOf(one.joined?.task.task ?? '')).toMatchObject([{ generation: 1 }])
    await h.clock.advance(400_000)
    expect(h.hub.guard.store.prepare('select count(*) from denied_token').pluck().get()).toBe(0)
  })
})

describe('renewal (S1-44)', () => {
  test('without renewal a token is good for 5 min and 30 s more, and then refused [clock-2]', async () => {
    await using h = await createHarness({ agents })
    const [one] = await h.bring('one')
    const answer = await h.pumped(one.ask(RENEW))
    const endsAtMs = Number(answer.body.tokenExpiresAtMs)
    one.token = renewed(answer)
    expect(endsAtMs - h.clock.wallMs()).toBeLessThanOrEqual(300_000)
    expect(endsAtMs - h.clock.wallMs()).toBeGreaterThan(298_000)
    const at = async (ms: number) => {
      await h.clock.advance(ms - h.clock.wallMs())
      return code(await probe(one))
    }
    expect(await at(endsAtMs - 1)).toBe('ok')
    expect(await at(endsAtMs + 29_999)).toBe('ok')
    expect(await at(endsAtMs + 30_000)).toBe('401 unauthenticated')
    expect(h.audit().at(-1)?.reason).toContain('expired')
    // The key that joined renews without any token, and nothing was recycled meanwhile.
    await h.pumped(one.renew())
    expect(code(await one.send(log))).toBe('ok')
  })

  test('joining again with the same key is a renewal: same session, generation and container, the earlier token stays good', async () => {
    await using h = await createHarness({ agents })
    const [one] = await h.bring('one')
    const first = one.token
    const row = () => {
      const [session] = h.sessionsOf(one.joined?.task.task ?? '')
      return [session?.id, session?.generation, session?.containerId, session?.state === 'recycled']
    }
    const before = row()
    for (let nth = 0; nth < 3; nth += 1) await h.pumped(one.join())
    expect(row()).toEqual(before)
    expect(h.engine.containers.size).toBe(1)
    expect(one.token).not.toBe(first)
    expect(code(await probe(one, first))).toBe('ok')
    expect(code(await probe(one))).toBe('ok')
  })
})

describe('the death of a container ends its tokens (T12)', () => {
  /** How long after the death the stolen key and token are refused; asked again and again from outside the container. */
  async function refusedAfterMs(h: Awaited<ReturnType<typeof createHarness>>): Promise<number> {
    const [one] = await h.bring('one')
    const outside = new AbortController()
    const thief = createSigningClient({ socketPath: one.socketPath, clock: h.clock, ended: outside.signal })
    const stolen = () => probe(thief, one.token, one.privateKey).then(code)
    expect(await stolen()).toBe('ok')
    const diedAtMs = h.clock.monotonicMs()
    one.container.exit(1)
    for (;;) {
      const answer = await Promise.race([stolen(), gone(h, one.session)])
      if (answer !== 'ok') {
        outside.abort()
        return h.clock.monotonicMs() - diedAtMs
      }
      await h.clock.advance(50)
      if (h.clock.monotonicMs() - diedAtMs > 20_000) throw new Error('it was never refused')
    }
  }
  /** The session's socket may be gone before the answer. */
  async function gone(h: Awaited<ReturnType<typeof createHarness>>, session: string): Promise<string> {
    while (h.hub.work.messaging.mailboxes.isOpen(session)) await new Promise((resolve) => setTimeout(resolve, 5))
    return 'gone'
  }

  test('within a second by the event alone, the wait on it being cut [stop-41]', async () => {
    await using h = await createHarness({ agents })
    h.engine.cutWaits()
    expect(await refusedAfterMs(h)).toBeLessThan(1000)
  })

  test('within a second by the wait alone, events being lost', async () => {
    await using h = await createHarness({ agents })
    h.engine.loseEvents()
    expect(await refusedAfterMs(h)).toBeLessThan(1000)
  })

  test('within five seconds by the reconcile, events and wait being lost', async () => {
    await using h = await createHarness({ agents })
    h.engine.loseEvents()
    h.engine.cutWaits()
    const tookMs = await refusedAfterMs(h)
    expect(tookMs).toBeLessThan(5500)
    expect(tookMs).toBeGreaterThan(1000)
  })
})
