/** Prompts to a program that lives on, behind the shim: turns of the SDK, of `json-lines` and of `stub` (docs/protocol.md 10). */
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { EntranceSession } from '../support/agent-entrance.ts'
import { createShimBench } from '../support/shim-process.ts'

let bench: ReturnType<typeof createShimBench>
beforeEach(() => {
  bench = createShimBench()
})
afterEach(() => bench.close())

type Ran = Awaited<ReturnType<typeof bench.start>>
/** Gives a prompt, as the hub does: at most once for each id. */
function say(session: EntranceSession, prompt: string, number = 1, id: string = randomUUID()): string {
  session.deliver({ kind: 'message', type: 'turn.prompt', id, body: { turn: id, number, prompt } })
  return id
}
const cancel = (session: EntranceSession, turn: string) =>
  session.deliver({ kind: 'message', type: 'turn.cancelled', body: { turn } })
const close = (session: EntranceSession) => session.deliver({ kind: 'finish', body: { closed: true, graceMs: 5_000 } })
/** What the hub was told of a turn: its states, and its text and calls in their order. */
function told({ session }: Ran, id: string) {
  const said = session.seen.flatMap(({ envelope }) => (envelope?.body.turn === id ? [envelope] : []))
  return {
    states: said.flatMap(({ kind, body }) => (kind === 'turn' ? [body.stopReason ?? body.state] : [])),
    text: said.map(({ body }) => body.text ?? '').join(''),
    tools: said.flatMap(({ body }) => (body.tool === undefined ? [] : [(body.tool as { name: string }).name])),
    usage: said.flatMap(({ body }) => (body.usage === undefined ? [] : [body.usage])).at(-1),
    errors: said.flatMap(({ body }) => (body.error === undefined ? [] : [body.error])),
  }
}
const ended = (ran: Ran, id: string) => expect.poll(() => told(ran, id).states.length, { interval: 20 }).toBe(2)

/** A program of the SDK in a file of its own. */
function sdk(text: string) {
  const file = join(bench.dir, `program-${randomUUID()}.mjs`)
  const agent = join(import.meta.dirname, '../../hub/client/agent.ts')
  writeFileSync(file, `import { connect } from ${JSON.stringify(agent)}\nconst hub = await connect()\n${text}`)
  return bench.start({ program: { driver: 'sdk', run: ['node', file], mode: 'chat' } })
}

test('S4-5: a program of the SDK answers one prompt after the other in one process, and a close is its success', async () => {
  const ran = await sdk(`hub.onPrompt((turn) => {
    turn.tool({ name: 'look' })
    turn.usage({ input: 3 * turn.number, cached: 0, output: turn.number })
    return 'turn ' + turn.number + ' of ' + process.pid + ': ' + turn.prompt
  })`)
  const first = say(ran.session, 'one')
  const second = say(ran.session, 'two', 2)
  await ended(ran, second)
  expect(told(ran, first)).toMatchObject({ states: ['running', 'end_turn'], text: `turn 1 of ${ran.child.pid}: one` })
  expect(told(ran, second)).toMatchObject({ states: ['running', 'end_turn'], text: `turn 2 of ${ran.child.pid}: two` })
  expect(told(ran, second)).toMatchObject({ tools: ['look'], usage: { input: 6, cached: 0, output: 2 } })
  close(ran.session)
  expect(await ran.session.result).toEqual({ outcome: 'succeeded', value: { turns: 2 } })
  expect(await ran.exit).toBe(0)
})

test('S4-32: a turn that is cancelled ends alone: its text stands, and the next prompt is answered', async () => {
  const ran = await sdk(`hub.onPrompt(async (turn, signal) => {
    turn.text('begun ' + turn.prompt)
    if (turn.number === 1) await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  })`)
  const first = say(ran.session, 'one')
  await expect.poll(() => told(ran, first).states, { interval: 20 }).toEqual(['running'])
  cancel(ran.session, first)
  const second = say(ran.session, 'two', 2)
  await ended(ran, second)
  expect(told(ran, first)).toMatchObject({ states: ['running', 'cancelled'], text: 'begun one' })
  expect(told(ran, second)).toMatchObject({ states: ['running', 'end_turn'], text: 'begun two' })
})

test('S4-20: a handler that throws ends its turn as error, and the session goes on', async () => {
  const ran = await sdk(`hub.onPrompt((turn) => { if (turn.number === 1) throw new Error('no model'); return 'well' })`)
  const first = say(ran.session, 'one')
  const second = say(ran.session, 'two', 2)
  await ended(ran, second)
  expect(told(ran, first)).toMatchObject({ states: ['running', 'error'], errors: ['no model'] })
  expect(told(ran, second).text).toBe('well')
})

test('S4-27: a prompt that came before the program was ready is held; turns can be iterated, and text that ends within a character stays whole', async () => {
  const ran = await sdk(`hub.onTask(async () => {
    await new Promise((done) => setTimeout(done, 100))
    let said = 0
    for await (const turn of hub.turns) { turn.text('😀'.repeat(5_000)); turn.text('!'); said += 1 }
    return said
  })`)
  const id = say(ran.session, 'early')
  await expect.poll(() => told(ran, id).text, { interval: 20 }).toBe(`${'😀'.repeat(5_000)}!`)
  const pieces = ran.session.seen.flatMap(({ envelope }) => (envelope?.kind === 'frame' ? [envelope.body.text] : []))
  expect(pieces.every((piece) => String(piece).isWellFormed())).toBe(true)
  close(ran.session)
  expect(await ran.session.result).toEqual({ outcome: 'succeeded', value: 1 })
})

test('S4-26, S4-29: json-lines is given prompts and the cancel of one turn, and its lines of turns are judged', async () => {
  const ran = await bench.start({
    program: {
      driver: 'json-lines',
      mode: 'chat',
      run: bench.python(`hear()
say(op="turn", id=0, text="early")
early = hear()
say(op="log", text="ready")
one = hear()
say(op="turn", text="I heard " + one["text"], tool={"name": "look"}, usage={"input": 1, "output": 2})
cancelled = hear()
say(op="turn", id=1, stopReason="nonsense")
wrong = hear()
say(op="turn", id=2, stopReason="cancelled")
hear()
two = hear()
say(op="turn", text=json.dumps([early["code"], one["number"], cancelled, wrong["code"], two["number"]]), stopReason="max_tokens")
for line in sys.stdin:
  if json.loads(line)["op"] == "shutdown": break
`),
    },
  })
  await expect.poll(() => ran.logs(), { interval: 20 }).toEqual(['ready'])
  const first = say(ran.session, 'one')
  await expect.poll(() => told(ran, first).tools, { interval: 20 }).toEqual(['look'])
  cancel(ran.session, first)
  const second = say(ran.session, 'two', 2)
  await ended(ran, second)
  expect(told(ran, first)).toMatchObject({ states: ['running', 'cancelled'], text: 'I heard one' })
  expect(told(ran, first).usage).toEqual({ input: 1, cached: 0, output: 2 })
  expect(told(ran, second).states).toEqual(['running', 'max_tokens'])
  expect(JSON.parse(told(ran, second).text)).toEqual([
    'already_resolved',
    1,
    { op: 'cancel', turn: first },
    'schema_invalid',
    2,
  ])
  // It ended by itself after it was told that nothing more comes.
  close(ran.session)
  expect(await ran.session.result).toEqual({ outcome: 'succeeded' })
})

test('S4-19: the stub answers prompts from its script, skips the rest of a cancelled turn, and ends when it is closed', async () => {
  const script = [
    { op: 'prompt' },
    { op: 'turn', text: 'I was asked: {prompt}' },
    { op: 'wait', ms: 600_000 },
    { op: 'turn', text: 'never' },
    { op: 'prompt' },
    { op: 'turn', text: '{prompt} too', stopReason: 'stop_sequence' },
    { op: 'prompt' },
  ]
  const ran = await bench.start({
    program: { driver: 'stub', run: ['{param:script}'], mode: 'chat' },
    task: { params: { script } },
  })
  const first = say(ran.session, 'one')
  await expect.poll(() => told(ran, first).text, { interval: 20 }).toBe('I was asked: one')
  cancel(ran.session, first)
  const second = say(ran.session, 'two', 2)
  await ended(ran, second)
  expect(told(ran, first)).toMatchObject({ states: ['running', 'cancelled'], text: 'I was asked: one' })
  expect(told(ran, second)).toMatchObject({ states: ['running', 'stop_sequence'], text: 'two too' })
  close(ran.session)
  expect(await ran.session.result).toEqual({ outcome: 'succeeded' })
})
