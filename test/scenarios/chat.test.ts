/** Sessions that go on after a turn: prompts as rows, what is said of each turn, its cancel, its end (docs/chat.md). */
import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createHarness, type Harness, puppet, type TestAgent } from '../support/hub-harness.ts'

const chat = { solo: { script: puppet, card: { mode: 'chat' } } }
type Turn = { id: string; number: number; state: string; stopReason: string | null; text: string; prompt: string }
type Card = Record<string, unknown>
const agents = (card: Card) => ({ solo: { script: puppet, card } })

const say = (h: Harness, session: string, prompt: string, more: object = {}) =>
  h.operator('POST', `/v1/sessions/${session}/say`, { prompt, ...more })
const ask = (h: Harness, session: string, verb: string) => h.operator('POST', `/v1/sessions/${session}/${verb}`, {})
const turnsOf = async (h: Harness, session: string) =>
  (await h.operator('GET', `/v1/sessions/${session}/turns`)).body.turns as Turn[]
const stateOf = (h: Harness, session: string) => h.hub.work.tasks.session(session)?.state
/** The prompt that comes next, and what its program says of it. */
async function nextTurn(h: Harness, agent: TestAgent) {
  const mail = await h.pumped(agent.next(({ type }) => type === 'turn.prompt'))
  const { turn, prompt, number } = mail.body as { turn: string; prompt: string; number: number }
  const tell = (body: object) => h.pumped(agent.say({ kind: 'turn', body: { turn, ...body } }))
  return {
    ...{ turn, prompt, number },
    begin: () => tell({ state: 'running' }),
    frame: (body: object) => h.pumped(agent.say({ kind: 'frame', body: { turn, ...body } })),
    end: (stopReason = 'end_turn', more: object = {}) => tell({ state: 'ended', stopReason, ...more }),
  }
}
/** Time passes for a program that lives: it gives the signs that it owes. */
async function pass(h: Harness, agent: TestAgent, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 10_000) {
    for (let at = 0; at < 10; at += 1) await h.clock.advance(Math.min(left, 10_000) / 10)
    await h.pumped(agent.renew())
  }
}
const codeOf = async (answer: Promise<unknown>) =>
  await answer.then(
    () => 'ok',
    (thrown: { code?: string }) => thrown.code ?? String(thrown),
  )

test('S4-5, S4-12: two prompts are two turns of one session; it rests in between, and a close ends its task with success', async () => {
  await using h = await createHarness({ agents: chat })
  const [solo] = await h.bring('solo')
  const task = solo.joined?.task.task ?? ''
  expect(solo.joined?.program.mode).toBe('chat')
  expect(stateOf(h, solo.session)).toBe('ready')
  const first = (await say(h, solo.session, 'one')).body.turn as Turn
  expect(first).toMatchObject({ number: 1, state: 'waiting' })
  await say(h, solo.session, 'two')
  const one = await nextTurn(h, solo)
  expect([one.prompt, one.number, one.turn]).toEqual(['one', 1, first.id])
  await one.begin()
  expect(stateOf(h, solo.session)).toBe('working')
  // The second waits until the first was left.
  expect(await h.pumped(solo.receive(0))).toEqual([])
  await one.frame({ text: 'I say ', tool: { name: 'look', text: 'around' } })
  await one.frame({ text: 'one', usage: { input: 5, cached: 1, output: 2 } })
  expect(h.hub.work.catalogue.journal.progressOf(task)?.text).toBe('look: around')
  await one.end()
  expect(stateOf(h, solo.session)).toBe('ready')
  const two = await nextTurn(h, solo)
  await two.begin()
  await two.end('max_tokens', { usage: { input: 9, cached: 1, output: 4 } })
  expect(await turnsOf(h, solo.session)).toMatchObject([
    { number: 2, prompt: 'two', state: 'done', stopReason: 'max_tokens', text: '', usage: { input: 9, output: 4 } },
    { number: 1, prompt: 'one', state: 'done', stopReason: 'end_turn', text: 'I say one', usage: { input: 5 } },
  ])
  const shown = (await h.operator('GET', `/v1/tasks/${task}`)).body.turns as Turn[]
  expect(shown.map(({ number, text }) => [number, text])).toEqual([
    [1, 'I say one'],
    [2, ''],
  ])
  expect((await ask(h, solo.session, 'close')).body).toEqual({ session: solo.session, closed: true })
  expect((await say(h, solo.session, 'three')).body.code).toBe('inbox_closed')
  const finish = await h.pumped(solo.next(({ kind }) => kind === 'finish'))
  expect(finish.body).toMatchObject({ closed: true })
  await h.pumped(solo.result({ turns: 2 }))
  await h.ended(task)
  expect(h.task(task)).toMatchObject({ state: 'succeeded', attempts: 1, outcome: { value: { turns: 2 } } })
  const written = h.audit().map(({ action, outcome }) => `${action} ${outcome}`)
  for (const each of ['session.prompted ok', 'session.turn_told ok', 'session.turns_read ok', 'session.closed ok'])
    expect(written).toContain(each)
  expect(h.audit().find(({ action }) => action === 'session.prompted')?.effect).toBe(`turn:${first.id}`)
})

test('S4-32: an interrupt cancels the turn at once, its text stands, also what comes until its program leaves it, and the next prompt follows', async () => {
  await using h = await createHarness({ agents: chat })
  const [solo] = await h.bring('solo')
  expect((await ask(h, solo.session, 'interrupt')).body.code).toBe('already_resolved')
  await say(h, solo.session, 'one')
  const one = await nextTurn(h, solo)
  await one.begin()
  await one.frame({ text: 'half of ' })
  expect((await ask(h, solo.session, 'interrupt')).body.turn).toMatchObject({ id: one.turn, state: 'cancelled' })
  await say(h, solo.session, 'two')
  const told = await h.pumped(solo.next(({ type }) => type === 'turn.cancelled'))
  expect(told.body).toEqual({ turn: one.turn })
  await one.frame({ text: 'it' })
  // Only then is there another.
  expect(await h.pumped(solo.receive(0))).toEqual([])
  await one.end('end_turn')
  const two = await nextTurn(h, solo)
  expect(two.prompt).toBe('two')
  expect(await codeOf(one.frame({ text: 'late' }))).toBe('already_resolved')
  expect(await codeOf(one.end())).toBe('already_resolved')
  expect((await turnsOf(h, solo.session)).at(-1)).toMatchObject({
    ...{ state: 'cancelled', stopReason: 'cancelled', text: 'half of it' },
  })
  // A prompt that was handed over and not begun is taken back as well.
  expect((await ask(h, solo.session, 'interrupt')).body.turn).toMatchObject({ id: two.turn, state: 'cancelled' })
  expect(await codeOf(two.begin())).toBe('already_resolved')
  expect(stateOf(h, solo.session)).toBe('ready')
})

test.each([
  ['max_tokens', 'done'],
  ['tool_use', 'done'],
  ['stop_sequence', 'done'],
  ['end_turn', 'done'],
  ['cancelled', 'cancelled'],
  ['error', 'failed'],
])('S4-20: a turn that ends with %s is %s', async (stopReason, state) => {
  await using h = await createHarness({ agents: chat })
  const [solo] = await h.bring('solo')
  await say(h, solo.session, 'one')
  const one = await nextTurn(h, solo)
  await one.begin()
  await one.end(stopReason, stopReason === 'error' ? { error: 'no model' } : {})
  expect(await turnsOf(h, solo.session)).toMatchObject([
    { state, stopReason, error: stopReason === 'error' ? 'no model' : null },
  ])
})

describe('S4-13, S4-14: a session that cannot be spoken to says why, by name', () => {
  test('one that is not there, and one that has ended, is unknown; nothing else can be done to it either', async () => {
    await using h = await createHarness({ agents: chat })
    const [solo] = await h.bring('solo')
    const gone = `${solo.session.slice(0, -4)}aaaa`
    for (const session of [gone, solo.session]) {
      for (const answer of [
        await say(h, session, 'one'),
        await ask(h, session, 'interrupt'),
        await ask(h, session, 'close'),
      ]) {
        if (session === solo.session) continue
        expect([answer.body.code, String(answer.body.detail)]).toEqual([
          'unknown_session',
          expect.stringContaining(session),
        ])
      }
    }
    const [more] = await h.bring('solo')
    await ask(h, more.session, 'stop')
    const answer = await say(h, more.session, 'one')
    expect([answer.status, answer.body.code, String(answer.body.detail)]).toEqual([
      ...[404, 'unknown_session'],
      expect.stringContaining(more.session),
    ])
    expect(h.audit().some(({ action, outcome }) => action === 'session.prompted' && outcome === 'refused')).toBe(true)
  })
})

test('prompts are bounded and unique: size, how many wait, and the same id is the same turn', async () => {
  await using h = await createHarness({ agents: chat })
  const [solo] = await h.bring('solo')
  const turn = randomUUID()
  const whole = '😀'.repeat(16 * 1024)
  expect((await say(h, solo.session, whole, { turn })).body.turn).toMatchObject({ id: turn, number: 1 })
  expect((await say(h, solo.session, whole, { turn })).body.turn).toMatchObject({ id: turn, number: 1 })
  expect((await say(h, solo.session, 'another', { turn })).body.code).toBe('conflict')
  for (const wrong of ['', `${whole}a`]) expect((await say(h, solo.session, wrong)).body.code).toBe('schema_invalid')
  expect((await nextTurn(h, solo)).prompt).toBe(whole)
  for (let at = 1; at < 32; at += 1) await say(h, solo.session, `p${at}`)
  expect((await say(h, solo.session, 'one too many')).body.code).toBe('limit_exceeded')
})

test('text is kept up to its limit, cut between code points, and masked', async () => {
  await using h = await createHarness({ agents: chat })
  const [solo] = await h.bring('solo')
  await say(h, solo.session, 'one')
  const one = await nextTurn(h, solo)
  await one.begin()
  await one.frame({ text: 'abc' })
  for (let at = 0; at < 9; at += 1) await one.frame({ text: '😀'.repeat(8 * 1024) })
  expect(await codeOf(one.frame({ text: '😀'.repeat(8 * 1024 + 1) }))).toBe('schema_invalid')
  const [kept] = (await turnsOf(h, solo.session)) as (Turn & { cut: boolean })[]
  expect(Buffer.byteLength(kept?.text ?? '')).toBe(256 * 1024 - 1)
  expect([kept?.cut, kept?.text.isWellFormed()]).toEqual([true, true])
  const [shown] = (await h.operator('GET', `/v1/sessions/${solo.session}`)).body.turns as (Turn & { cut: boolean })[]
  expect([Buffer.byteLength(shown?.text ?? '') <= 2000, shown?.cut]).toEqual([true, true])
})

test('two sessions with a turn of the same name: neither is given the prompt, nor the held end of the text, of the other (S1-62)', async () => {
  await using h = await createHarness({ agents: { ...chat, pair: chat.solo } })
  const [[solo], [pair]] = [await h.bring('solo'), await h.bring('pair')]
  const turn = '019b8d62-7a8a-777e-bca9-29a14efc7435'
  const key = `ghp_${'a1B2'.repeat(9)}`
  await say(h, solo.session, `use ${key}`, { turn })
  await say(h, pair.session, 'say nothing', { turn })
  const [one, other] = [await nextTurn(h, solo), await nextTurn(h, pair)]
  expect([one.prompt, other.prompt]).toEqual([`use ${key}`, 'say nothing'])
  await one.begin()
  await other.begin()
  await one.frame({ text: 'it is ghp_a1B2a1' })
  await other.frame({ text: 'nothing' })
  expect((await turnsOf(h, pair.session)).map(({ text }) => text)).toEqual(['nothing'])
})

describe.each(['stop', 'kill'] as const)('the hub is built again after a %s', (how) => {
  test('S4-27: the chat goes on, its waiting prompts are handed again under their ids, a cancel and a close too', async () => {
    await using h = await createHarness({ agents: chat })
    const [solo] = await h.bring('solo')
    await say(h, solo.session, 'one')
    const one = await nextTurn(h, solo)
    await say(h, solo.session, 'two')
    await h[how]()
    await h.start()
    const again = await nextTurn(h, solo)
    expect(again.turn).toBe(one.turn)
    await again.begin()
    await again.frame({ text: 'said' })
    await ask(h, solo.session, 'interrupt')
    await h[how]()
    await h.start()
    const told = await h.pumped(solo.next(({ type }) => type === 'turn.cancelled'))
    expect(told.body).toEqual({ turn: one.turn })
    await again.end('cancelled')
    expect((await nextTurn(h, solo)).prompt).toBe('two')
    await ask(h, solo.session, 'close')
    await h[how]()
    await h.start()
    await h.pumped(solo.next(({ kind }) => kind === 'finish'))
    expect((await turnsOf(h, solo.session)).map(({ state, text }) => [state, text])).toEqual([
      ['cancelled', ''],
      ['cancelled', 'said'],
    ])
  })
})

test('a crash of the session fails the turn that ran, with its text, and cancels what waited', async () => {
  await using h = await createHarness({ agents: agents({ mode: 'chat', restarts: 0 }) })
  const [solo] = await h.bring('solo')
  const task = solo.joined?.task.task ?? ''
  await say(h, solo.session, 'one')
  const one = await nextTurn(h, solo)
  await one.begin()
  await one.frame({ text: 'half' })
  await say(h, solo.session, 'two')
  solo.container.exit(1)
  await h.ended(task)
  expect(await turnsOf(h, solo.session)).toMatchObject([
    { prompt: 'two', state: 'cancelled', error: 'its session ended before its turn' },
    { prompt: 'one', state: 'failed', stopReason: 'error', text: 'half', error: 'its session ended: crashed' },
  ])
  expect(h.task(task).state).toBe('failed')
})

test('a chat that nobody speaks to is closed after idleAfter; a turn, a waiting prompt, and a question keep it', async () => {
  await using h = await createHarness({ agents: agents({ mode: 'chat', idleAfter: '1m' }) })
  const [solo] = await h.bring('solo')
  const task = solo.joined?.task.task ?? ''
  await pass(h, solo, 40_000)
  await say(h, solo.session, 'one')
  const one = await nextTurn(h, solo)
  await one.begin()
  await pass(h, solo, 200_000)
  expect(stateOf(h, solo.session)).toBe('working')
  await one.end()
  const finish = await h.pumped(
    solo.next(({ kind }) => kind === 'finish'),
    1_000,
  )
  expect(finish.body.closed).toBe(true)
  const { closing } = (await h.operator('GET', `/v1/sessions/${solo.session}`)).body
  expect(closing).toBe('nobody spoke to it for 1m (idleAfter of its card)')
  await h.pumped(solo.result('all'))
  await h.ended(task)
  expect(h.task(task).state).toBe('succeeded')
  expect(h.audit().find(({ action }) => action === 'session.closed')?.principal).toBe('hub:chats')
})

test('a program that gives no result after a close is stopped, and its task says so', async () => {
  await using h = await createHarness({ agents: chat })
  const [solo] = await h.bring('solo')
  const task = solo.joined?.task.task ?? ''
  await ask(h, solo.session, 'close')
  await h.until(() => h.task(task).state !== 'running', 'it is stopped', 1_000)
  expect(h.task(task)).toMatchObject({
    state: 'cancelled',
    error: { detail: 'it was closed by operator, and its program gave no result within 40s' },
  })
})

test('in safe mode no prompt is taken or handed over; interrupt and close work (I6) [mode-10]', async () => {
  await using h = await createHarness({ agents: chat })
  const [solo] = await h.bring('solo')
  await say(h, solo.session, 'one')
  const one = await nextTurn(h, solo)
  await one.begin()
  await say(h, solo.session, 'two')
  h.hub.guard.modes.raise('operator_request', 'test')
  expect((await say(h, solo.session, 'three')).body.code).toBe('mode_safe')
  expect((await ask(h, solo.session, 'interrupt')).body.turn).toMatchObject({ id: one.turn, state: 'cancelled' })
  await h.pumped(solo.next(({ type }) => type === 'turn.cancelled'))
  await one.end('cancelled')
  expect(await h.pumped(solo.receive(0))).toEqual([])
  h.hub.guard.modes.clear('operator_request')
  expect((await nextTurn(h, solo)).prompt).toBe('two')
  h.hub.guard.modes.raise('operator_request', 'test')
  expect((await ask(h, solo.session, 'close')).body.closed).toBe(true)
})

test('S4-26: a prompt to a task is a note to its program at work; a close is refused by name, and what was not taken ends with it', async () => {
  await using h = await createHarness({ agents: agents({}) })
  const [solo] = await h.bring('solo')
  await say(h, solo.session, 'look left')
  const note = await nextTurn(h, solo)
  await note.begin()
  await note.end()
  expect(stateOf(h, solo.session)).toBe('working')
  expect((await ask(h, solo.session, 'close')).body.code).toBe('unsupported_mode')
  await say(h, solo.session, 'too late')
  await h.pumped(solo.result('done'))
  await h.ended(solo.joined?.task.task ?? '')
  expect((await turnsOf(h, solo.session)).map(({ state }) => state)).toEqual(['cancelled', 'done'])
})

test('a driver that is given no prompts is refused by name, to say and to interrupt', async () => {
  await using h = await createHarness({ agents: agents({ driver: 'command' }) })
  const [solo] = await h.bring('solo')
  for (const answer of [await say(h, solo.session, 'hello'), await ask(h, solo.session, 'interrupt')])
    expect([answer.body.code, String(answer.body.detail)]).toEqual([
      'unsupported_mode',
      expect.stringContaining('driver command'),
    ])
})

test('a session says of its own turns alone, one at a time', async () => {
  await using h = await createHarness({ agents: chat })
  const [solo, other] = await h.bring('solo', 'solo')
  await say(h, solo.session, 'one')
  const one = await nextTurn(h, solo)
  const foreign = (body: object) => codeOf(h.pumped(other.say({ kind: 'turn', body: { turn: one.turn, ...body } })))
  expect(await foreign({ state: 'running' })).toBe('schema_invalid')
  expect(await codeOf(h.pumped(other.say({ kind: 'frame', body: { turn: one.turn, text: 'x' } })))).toBe(
    'schema_invalid',
  )
  expect(await codeOf(one.frame({ text: 'before it began' }))).toBe('already_resolved')
  expect(await codeOf(one.end())).toBe('already_resolved')
  await one.begin()
  expect(await codeOf(one.begin())).toBe('already_resolved')
  expect(await codeOf(one.end('nonsense'))).toBe('schema_invalid')
})

test('a chat that works and says nothing stalls like a task; what it says of its turn is a sign of progress, and between turns it may rest', async () => {
  await using h = await createHarness({ agents: agents({ mode: 'chat', stallAfter: '2m' }) })
  const [solo] = await h.bring('solo')
  const stalled = () => h.hub.work.supervision.vitals.stalledSinceMs(solo.session) !== null
  await pass(h, solo, 180_000)
  expect(stalled()).toBe(false)
  await say(h, solo.session, 'one')
  const one = await nextTurn(h, solo)
  await one.begin()
  await pass(h, solo, 100_000)
  await one.frame({ text: 'still here' })
  await pass(h, solo, 100_000)
  expect(stalled()).toBe(false)
  await pass(h, solo, 60_000)
  expect(stalled()).toBe(true)
  await one.end()
  await pass(h, solo, 10_000)
  expect(stalled()).toBe(false)
})

test('fault B3: the turns of an old chat go with its task, and so does its close', async () => {
  await using h = await createHarness({ agents: chat })
  const [solo] = await h.bring('solo')
  const task = solo.joined?.task.task ?? ''
  await say(h, solo.session, 'one')
  await ask(h, solo.session, 'close')
  await h.pumped(solo.result('all'))
  await h.ended(task)
  await h.quiet()
  const { store } = h.hub.guard
  store.transaction(() => store.prepare('update task set ended_at_ms = ended_at_ms - ?').run(31 * 86_400_000))
  expect((await h.operator('POST', '/v1/retention/prune', { isFirst: true })).body).toMatchObject({ tasks: 1 })
  for (const table of ['session', 'turn', 'chat_close'])
    expect(store.prepare(`select count(*) from ${table}`).pluck().get(), table).toBe(0)
})

describe('stop class: with a store that takes nothing any more (I6, S1-18)', () => {
  const breakStore = (h: Harness) =>
    h.hub.guard.store.heard(Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_WRITE' }))
  const unwritten = { kept: 'file', detail: expect.stringContaining('stopping, not written yet') }

  test('an interrupt and a close reach the program at once, and after a kill and a restart they are rows, recorded once', async () => {
    await using h = await createHarness({ agents: chat })
    const [solo] = await h.bring('solo')
    await say(h, solo.session, 'one')
    const one = await nextTurn(h, solo)
    await one.begin()
    await say(h, solo.session, 'two')
    breakStore(h)
    const interrupted = await ask(h, solo.session, 'interrupt')
    expect([interrupted.status, interrupted.body.unwritten]).toEqual([200, unwritten])
    const closed = await ask(h, solo.session, 'close')
    expect([closed.status, closed.body.unwritten]).toEqual([200, unwritten])
    // A signed request needs a row, so it reads its mail over the fast line, or once the store works again.
    const mail = h.hub.work.messaging.mailboxes.take(solo.session, 0).map(({ text }) => JSON.parse(text))
    expect(mail.map(({ kind, type }) => type ?? kind).slice(-2)).toEqual(['turn.cancelled', 'finish'])
    await h.kill()
    await h.start()
    expect((await turnsOf(h, solo.session)).map(({ state }) => state)).toEqual(['cancelled', 'cancelled'])
    expect((await say(h, solo.session, 'three')).body.code).toBe('inbox_closed')
    for (const action of ['session.interrupted', 'session.closed'])
      expect(h.audit().filter((row) => row.action === action)).toHaveLength(1)
  })
})
