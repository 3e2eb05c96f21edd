/** Fast sessions at a session's real socket: what is flipped, cut, repeated, late or too much gets nothing done (T9, T10, T67, T68). */
import { createConnection } from 'node:net'
import { describe, expect, test } from 'vitest'
import { systemRandom } from '../../hub/base/random.ts'
import { createOpenedSession } from '../../hub/guard/identity/opened-sessions.ts'
import {
  CLOSE_CODES,
  directionKey,
  ENVELOPE_BYTES_MAX,
  FRAME_OVERHEAD_BYTES,
  FRAME_TYPES,
  openFrame,
  sealFrame,
} from '../../hub/protocol/frame.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { type AgentSpec, createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'
import { openRawSession, type RawSession } from '../support/raw-session.ts'

const FRAME_BYTES_MAX = FRAME_OVERHEAD_BYTES + ENVELOPE_BYTES_MAX
const words = { sends: { work: null }, receives: { work: null } }
const talker = (message: string[]): AgentSpec => ({
  script: puppet,
  card: { messages: words, may: { message }, restarts: 0, limits: { ttl: '60m' } },
})
const agents = { one: talker(['two']), two: talker(['one']) }
const config = { limits: { messages: { perSecond: 50_000 } } }
const harness = () => createHarness({ agents, config })

const envelope = (agent: TestAgent, n: number) => ({
  id: agent.newId(),
  kind: 'request',
  to: 'agent:two',
  type: 'work',
  body: { n },
})
const log = (agent: TestAgent, text: string) => ({ id: agent.newId(), kind: 'log', body: { text } })
const lines = (h: Harness, agent: TestAgent) =>
  h.hub.work.catalogue.journal.linesOf(agent.joined?.task.task ?? '').map(({ text }) => text)
const broken = (h: Harness) => h.audit().filter(({ reason }) => reason.startsWith('sequence_broken'))
const sent = (h: Harness) => h.audit().filter(({ action, outcome }) => action === 'message.sent' && outcome === 'ok')

/** With a token of its own, as every opening needs one. */
async function openSession(h: Harness, agent: TestAgent, after = 0): Promise<RawSession> {
  await h.pumped(agent.renew())
  return h.pumped(openRawSession(agent, { after }))
}
const acked = (h: Harness, session: RawSession, upTo: number) =>
  h.until(() => (session.acks.at(-1)?.upTo ?? 0) >= upTo, `an ack of ${upTo}`)

describe('every frame is proven before it is read (T10)', () => {
  test('of all frames that differ from a good one in a single bit none is opened', () => {
    const key = directionKey(systemRandom.bytes(32), 'agent-to-hub')
    const good = sealFrame(key, 'agent-to-hub', FRAME_TYPES.envelope, 7, '{"id":"x","body":{"n":1}}')
    expect(openFrame(key, 'agent-to-hub', 7, good)).toHaveProperty('body')
    let accepted = 0
    for (let bit = 0; bit < good.length * 8; bit += 1) {
      const flipped = Buffer.from(good)
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      if (!('fault' in openFrame(key, 'agent-to-hub', 7, flipped))) accepted += 1
    }
    expect(accepted).toBe(0)
  })

  const flip = (frame: Buffer, at: number) => {
    const flipped = Buffer.from(frame)
    flipped[at] = (flipped[at] ?? 0) ^ 1
    return flipped
  }
  const wrongs: [string, (s: RawSession, body: object, other: RawSession) => Buffer | string][] = [
    ['a bit of its version flipped', (s, body) => flip(s.seal(body), 0)],
    ['a bit of its type flipped', (s, body) => flip(s.seal(body), 1)],
    ['a bit of its sequence flipped', (s, body) => flip(s.seal(body), 9)],
    ['a bit of its tag flipped', (s, body) => flip(s.seal(body), 20)],
    ['a bit of its body flipped', (s, body) => flip(s.seal(body), 60)],
    ['the next sequence left out', (s, body) => [s.seal(body), s.seal(body)][1] as Buffer],
    [
      'the sequence of the frame before',
      (s, body) => sealFrame(s.outgoing, 'agent-to-hub', FRAME_TYPES.envelope, s.sequence, JSON.stringify(body)),
    ],
    [
      'a sequence far back',
      (s, body) => sealFrame(s.outgoing, 'agent-to-hub', FRAME_TYPES.envelope, 0, JSON.stringify(body)),
    ],
    [
      'the key of another session',
      (s, body, other) =>
        sealFrame(other.outgoing, 'agent-to-hub', FRAME_TYPES.envelope, s.sequence + 1, JSON.stringify(body)),
    ],
    ['been sent by the hub itself', (s) => s.frames[0] ?? Buffer.alloc(0)],
    [
      'the other direction in its tag',
      (s, body) =>
        sealFrame(
          directionKey(s.secret, 'hub-to-agent'),
          'hub-to-agent',
          FRAME_TYPES.envelope,
          s.sequence + 1,
          JSON.stringify(body),
        ),
    ],
    ['lost its last byte', (s, body) => s.seal(body).subarray(0, -1)],
    ['one byte too many', (s, body) => Buffer.concat([s.seal(body), Buffer.from(' ')])],
    ['nothing but a header', (s, body) => s.seal(body).subarray(0, 10)],
    ['no byte at all', () => Buffer.alloc(0)],
    ['the form of a text', (s, body) => s.seal(body).toString('latin1')],
  ]
  test('whatever is wrong with a frame, its session is closed, the reason is on record, and nothing of it is stored', async () => {
    await using h = await harness()
    for (const [what, wrong] of wrongs) {
      const [one, two] = await h.bring('one', 'two')
      const [session, other] = [await openSession(h, one), await openSession(h, two)]
      session.send(log(one, 'good'))
      await acked(h, session, 1)
      const before = { broken: broken(h).length, sent: sent(h).length }
      session.ws.send(wrong(session, log(one, 'bad'), other))
      // Already on its way behind it: it is not carried out either.
      session.send(log(one, 'after'))
      expect(await h.pumped(session.closed), what).toBe(CLOSE_CODES.sequence_broken)
      expect(broken(h).length - before.broken, what).toBe(1)
      expect(broken(h).at(-1)?.reason, what).toMatch(/frame 2: (too short|unknown version|wrong tag|wrong sequence)/)
      expect(lines(h, one), what).toEqual(['good'])
      other.ws.terminate()
      for (const agent of [one, two]) await h.pumped(agent.result())
      await h.quiet()
    }
  })

  test('a frame captured on one session is worth nothing on the next of the same agent', async () => {
    await using h = await harness()
    const [one] = await h.bring('one')
    const first = await openSession(h, one)
    const captured = first.seal(log(one, 'once'))
    first.ws.send(captured)
    await acked(h, first, 1)
    const second = await openSession(h, one)
    second.ws.send(captured)
    expect(await h.pumped(second.closed)).toBe(CLOSE_CODES.sequence_broken)
    expect(lines(h, one)).toEqual(['once'])
  })

  test('three broken frames stop the agent: its task fails and its session is recycled for security', async () => {
    await using h = await harness()
    const [one] = await h.bring('one')
    const task = one.joined?.task.task ?? ''
    for (const strike of [1, 2, 3]) {
      expect(h.task(task).state, `before strike ${strike}`).toBe('running')
      const session = await openSession(h, one)
      session.ws.send(Buffer.alloc(60))
      await h.pumped(session.closed)
    }
    await h.ended(task)
    expect(h.task(task)).toMatchObject({ state: 'failed', error: { code: 'forbidden' } })
    expect(h.sessionsOf(task)[0]?.exitReason).toBe('security')
    await h.quiet()
  })

  const faults: [string, (agent: TestAgent) => unknown, string][] = [
    ['no JSON', () => '{"id":', 'schema_invalid'],
    ['a duplicate key', () => '{"id":"a","id":"b"}', 'schema_invalid'],
    ['a sender', (agent) => ({ ...log(agent, 'x'), from: 'agent:two' }), 'schema_invalid'],
    ['an unknown type', (agent) => ({ ...envelope(agent, 0), type: 'nonsense' }), 'schema_invalid'],
    ['an agent it may not write to', (agent) => ({ ...envelope(agent, 0), to: 'agent:one' }), 'policy_denied'],
  ]
  test('an authentic frame with a faulty body among good ones is refused alone, at each place of a group', async () => {
    await using h = await harness()
    const [one] = await h.bring('one')
    const session = await openSession(h, one)
    const stored: string[] = []
    for (const [what, faulty, code] of faults) {
      for (let place = 0; place < 5; place += 1) {
        const [first, told] = [session.sequence + 1, session.acks.length]
        for (let at = 0; at < 5; at += 1) {
          const name = `${what} ${place} ${at}`
          session.send(at === place ? faulty(one) : log(one, name))
          if (at !== place) stored.push(name)
        }
        await acked(h, session, first + 4)
        const refused = session.acks.slice(told).flatMap((ack) => ack.refused ?? [])
        expect(refused, what).toMatchObject([{ problem: { sequence: first + place, code } }])
      }
    }
    expect(lines(h, one).slice(-stored.length)).toEqual(stored.slice(-lines(h, one).length))
    expect(session.closedWith).toBeUndefined()
    session.send({ after: 1, more: 2 }, FRAME_TYPES.seen)
    session.send({ upTo: 1 }, FRAME_TYPES.ack)
    await acked(h, session, session.sequence)
    expect(session.acks.flatMap((ack) => ack.refused ?? []).slice(-2)).toMatchObject([
      { problem: { code: 'schema_invalid' } },
      { problem: { code: 'schema_invalid' } },
    ])
  })
})

describe('a token opens one session (T9)', () => {
  test('of a hundred openings with one token exactly one succeeds, and none after, restarts included', async () => {
    await using h = await harness()
    const [one] = await h.bring('one')
    await h.pumped(one.renew())
    const { token } = one
    const attempt = async (): Promise<boolean> => {
      for (;;) {
        try {
          await openRawSession(one, { token })
          return true
        } catch (thrown) {
          // Four connections at once are taken; what is over that is cut before it is asked anything.
          const { message, code } = thrown as Error & { code?: string }
          if (message.startsWith('closed with 44')) return false
          if (code === undefined && !message.includes('hang up') && !message.includes('1006')) throw thrown
          await new Promise((resolve) => setTimeout(resolve, 2))
        }
      }
    }
    const all = await h.pumped(Promise.all(Array.from({ length: 100 }, attempt)))
    expect(all.filter(Boolean)).toHaveLength(1)
    expect(h.audit().filter(({ action, outcome }) => action === 'session.opened' && outcome === 'ok')).toHaveLength(1)
    for (const how of ['stop', 'kill'] as const) {
      await h[how]()
      await h.start()
      expect(await h.pumped(attempt()), how).toBe(false)
    }
    expect((await openSession(h, one)).closedWith).toBeUndefined()
  })

  test("a hello without the joined key's signature, with another's token or no hello at all opens nothing", async () => {
    await using h = await harness()
    const [one, two] = await h.bring('one', 'two')
    // The token of another is the last: it ends the session whose socket it was shown on (fault F16).
    for (const opening of [
      { key: two.privateKey },
      { hello: 'hello' },
      { hello: Buffer.from('{}') },
      { hello: '{}' },
      { token: two.token },
    ])
      await expect(h.pumped(openRawSession(one, opening))).rejects.toThrow(String(CLOSE_CODES.unauthenticated))
    expect(h.audit().filter(({ action, outcome }) => action === 'session.opened' && outcome === 'ok')).toEqual([])
  })

  test('a second opening of the same agent takes the place of the first', async () => {
    await using h = await harness()
    const [one] = await h.bring('one')
    const first = await openSession(h, one)
    const second = await openSession(h, one)
    expect(await h.pumped(first.closed)).toBe(CLOSE_CODES.rekey)
    second.send(log(one, 'here'))
    await acked(h, second, 1)
    expect(lines(h, one)).toEqual(['here'])
  })
})

describe('what a session may take up (T67, T68)', () => {
  test('a session ends after its fifteen minutes even when nobody speaks, and after its frames', async () => {
    await using h = await harness()
    const [one] = await h.bring('one')
    const session = await openSession(h, one)
    await h.clock.advance(15 * 60_000 - 5000)
    expect(session.closedWith).toBeUndefined()
    await h.clock.advance(10_000)
    expect(await h.pumped(session.closed)).toBe(CLOSE_CODES.rekey)

    const opened = createOpenedSession({ random: systemRandom, clock: createFakeClock(), framesMax: 3 })
    const spent = [1, 2, 3].map(() => {
      opened.seal(FRAME_TYPES.ack, '{}')
      return opened.isSpent()
    })
    expect(spent).toEqual([false, false, true])
  })

  test('who says no hello within five seconds, or half of one, is cut off', async () => {
    await using h = await harness()
    const [one] = await h.bring('one')
    const upgrade = `GET /v1/session HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`
    // A text frame that announces 100 bytes and sends two; and one that sends nothing.
    for (const rest of [Buffer.alloc(0), Buffer.from([0x81, 0xe4, 0, 0, 0, 0, 0x7b, 0x22])]) {
      const socket = createConnection(one.socketPath)
      let closed = false
      socket.on('close', () => {
        closed = true
      })
      socket.on('error', () => undefined).resume()
      socket.write(upgrade)
      await new Promise((resolve) => socket.once('data', resolve))
      socket.write(rest)
      await h.clock.advance(4900)
      expect(closed).toBe(false)
      await h.clock.advance(200)
      await h.until(() => closed)
    }
  })

  test('fault F18: a message over its size, announced as one byte more or as four gigabytes, ends the line by its length alone; a record says so', async () => {
    await using h = await harness()
    const [one, two] = await h.bring('one', 'two')
    const other = await openSession(h, two)
    const large = await openSession(h, one)
    large.ws.send(Buffer.alloc(FRAME_BYTES_MAX + 1))
    expect([1006, 1009]).toContain(await h.pumped(large.closed))
    const refusals = () =>
      h.audit().filter(({ outcome, reason }) => outcome === 'refused' && reason.startsWith('too_large'))
    await h.until(() => refusals().length === 1, 'a record')
    // Nothing follows the head: the line ends all the same.
    const head = (bytes: number) =>
      Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, bytes >> 16, (bytes >> 8) & 255, bytes & 255])
    const byOne = await openSession(h, one)
    const wire = (byOne.ws as unknown as { _socket: { write(bytes: Buffer): void } })._socket
    wire.write(Buffer.concat([head(FRAME_BYTES_MAX + 1), Buffer.alloc(4)]))
    expect([1006, 1009]).toContain(await h.pumped(byOne.closed))
    const fits = await openSession(h, one)
    fits.send(log(one, 'x'.repeat(64 * 1024)))
    await acked(h, fits, 1)
    fits.ws.close()
    await h.pumped(fits.closed)
    const announced = await openSession(h, one)
    const under = (announced.ws as unknown as { _socket: { write(bytes: Buffer): void } })._socket
    under.write(Buffer.from([0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]))
    expect([1006, 1009]).toContain(await h.pumped(announced.closed))
    other.send(log(two, 'still here'))
    await acked(h, other, 1)
  })

  test('a reader that stops is terminated after five seconds, holds little memory, and finds all its mail when it comes back', async () => {
    await using h = await harness()
    const [one, two] = await h.bring('one', 'two')
    const [from, to] = [await openSession(h, one), await openSession(h, two)]
    to.ws.pause()
    // As much as one sender may let wait, nearly.
    const sent = 65
    const text = 'x'.repeat(60_000)
    const rssBefore = process.memoryUsage().rss
    for (let n = 0; n < sent; n += 1) from.send({ ...envelope(one, n), body: { n, text } })
    await h.until(() => (from.acks.at(-1)?.upTo ?? 0) >= sent, 'all are accepted', 1)
    expect(from.acks.flatMap(({ refused }) => refused ?? [])).toEqual([])
    expect((process.memoryUsage().rss - rssBefore) / 2 ** 20).toBeLessThan(100)
    await h.clock.advance(7000)
    expect(h.complaints.map(({ msg }) => msg)).toContain('a session does not read what it is sent; its line is cut')
    to.ws.resume()
    expect(await h.pumped(to.closed)).toBe(1006)
    expect(to.deliveries.length).toBeLessThan(30)
    const again = await openSession(h, two, to.deliveries.at(-1)?.number ?? 0)
    const got = () => [...to.deliveries, ...again.deliveries]
    let told = 0
    await h.until(() => {
      const last = got().at(-1)?.number ?? 0
      if (again.deliveries.length > 0 && last > told) again.send({ after: last }, FRAME_TYPES.seen)
      told = last
      return got().length >= sent
    })
    expect(got().map(({ body }) => body.n)).toEqual(Array.from({ length: sent }, (_, n) => n))
  })

  test('mail beyond one page is pushed too, in its order, as the reader says what it has seen', async () => {
    await using h = await harness()
    const [one, two] = await h.bring('one', 'two')
    const from = await openSession(h, one)
    for (let n = 0; n < 200; n += 1) from.send(envelope(one, n))
    await acked(h, from, 200)
    const to = await openSession(h, two)
    let told = 0
    await h.until(() => {
      const last = to.deliveries.at(-1)?.number ?? 0
      if (last > told) to.send({ after: last }, FRAME_TYPES.seen)
      told = last
      return to.deliveries.length === 200
    })
    from.send(envelope(one, 200))
    await h.until(() => to.deliveries.length === 201)
    expect(to.deliveries.map(({ body }) => body.n)).toEqual(Array.from({ length: 201 }, (_, n) => n))
  })

  test('a flood of frames is refused with when to come back, and leaves one record in ten seconds (T65)', async () => {
    await using h = await createHarness({ agents, config: { limits: { messages: { perSecond: 10 } } } })
    const [one] = await h.bring('one')
    const session = await openSession(h, one)
    const records = h.audit().length
    for (let n = 0; n < 200; n += 1) session.send(log(one, String(n)))
    await acked(h, session, 200)
    const refused = session.acks.flatMap((ack) => ack.refused ?? [])
    expect(refused.length).toBeGreaterThan(150)
    expect(refused[0]?.problem).toMatchObject({ code: 'rate_limited' })
    const flood = h
      .audit()
      .slice(records)
      .filter(({ reason }) => reason.startsWith('rate_limited'))
    expect(flood).toHaveLength(1)
  })
})

describe('acknowledged means committed', () => {
  /** The store fails while it writes the record of the frame whose body says so. */
  function failingAt(h: Harness, nth: number): () => void {
    const { store } = h.hub.guard
    const original = store.savepoint
    let calls = 0
    store.savepoint = (fn) => {
      calls += 1
      if (calls === nth) throw Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' })
      return original(fn)
    }
    return () => {
      store.savepoint = original
    }
  }

  const failsAt = async (nth: number): Promise<void> => {
    await using h = await harness()
    const [one] = await h.bring('one')
    const session = await openSession(h, one)
    session.send(log(one, 'before'))
    await acked(h, session, 1)
    const said = ['a', 'b', 'c', 'd', 'e'].map((text) => log(one, text))
    const heal = failingAt(h, nth)
    for (const each of said) session.send(each)
    await acked(h, session, 6)
    heal()
    expect(h.events('hub.mode.changed.v1').at(-1)?.data).toEqual({ mode: 'degraded', conditions: ['store_failing'] })
    const [first, ...later] = session.acks
    expect([first?.durable, later.every(({ durable }) => !durable), later.at(-1)?.upTo]).toEqual([true, true, 6])
    expect(lines(h, one)).toEqual(['before', 'a', 'b', 'c', 'd', 'e'])
    const logged = () => h.audit().filter(({ action }) => action === 'task.logged').length
    expect([logged(), h.hub.guard.audit.bufferState().size]).toEqual([1, 5])
    await h.until(() => h.hub.guard.modes.current() === 'normal', 'the store is trusted again')
    expect([logged(), h.hub.guard.audit.bufferState().size]).toEqual([6, 0])
    for (const each of said) session.send(each)
    await acked(h, session, 11)
    expect(session.acks.at(-1)?.durable).toBe(true)
    expect(lines(h, one)).toEqual(['before', 'a', 'b', 'c', 'd', 'e'])
    expect(h.hub.guard.audit.verify().fault).toBeUndefined()
    const orphans = h.hub.guard.store.prepare(
      'select count(*) from audit_record where decision_id <> ? and decision_id not in (select decision_id from decision)',
    )
    expect(orphans.pluck().get('built-in')).toBe(0)
  }

  test('the store fails at the first of five frames: all are passed on once, not durable, and recorded in order on recovery (S1-18) [audit-8]', () =>
    failsAt(1))
  test.each([3, 5])('the same where it fails at the %d. of five frames', failsAt)
})
