/** The driver `stub`: agents without a program, behind the shim (docs/protocol.md 10). */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createShimBench } from '../support/shim-process.ts'

let bench: ReturnType<typeof createShimBench>
beforeEach(() => {
  bench = createShimBench()
})
afterEach(() => bench.close())
const replay = (script: unknown, run = ['{param:script}']) =>
  bench.start({ program: { driver: 'stub', run }, task: { params: { script } } })

test('S4-19: replays the script of its parameters in order: log, progress, a file, a message, the result', async () => {
  const ran = await replay([
    { op: 'log', text: 'I begin' },
    { op: 'wait', ms: 1 },
    { op: 'publish', topic: 'news', type: 'x.y', body: { n: 1 } },
    { op: 'write', name: 'a.txt', text: 'made' },
    { op: 'result', value: { n: 7 } },
    { op: 'log', text: 'never' },
  ])
  expect(await ran.session.result).toEqual({ outcome: 'succeeded', value: { n: 7 } })
  expect(ran.artifact('a.txt')).toBe('made')
  expect(ran.logs()).toEqual(['I begin'])
  const kinds = ran.session.seen.flatMap(({ envelope }) => (envelope ? [envelope.kind] : []))
  expect(kinds).toEqual(['log', 'event', 'result'])
})

test('S4-6: what its task asks of its model is the first line of its log', async () => {
  const task = { params: { script: [{ op: 'result' }] }, spec: { model: 'm-1', maxTurns: 2 } }
  const ran = await bench.start({ program: { driver: 'stub', run: ['{param:script}'] }, task })
  expect(await ran.session.result).toMatchObject({ outcome: 'succeeded' })
  expect(ran.logs()).toEqual(['its task says {"model":"m-1","maxTurns":2}'])
})

test('a script that crashes is a crash, and one that waits can be stopped', async () => {
  const crashed = await replay([{ op: 'crash' }])
  expect(await crashed.exit).toBe(1)
  expect(crashed.envelopes('result')).toEqual([])
  const waits = await replay([
    { op: 'log', text: 'ready' },
    { op: 'wait', ms: 600_000 },
  ])
  await expect.poll(() => waits.logs(), { interval: 20 }).toEqual(['ready'])
  waits.session.deliver({ kind: 'cancel', body: {} })
  expect(await waits.session.result).toMatchObject({ outcome: 'failed', stopped: true })
})

test.each([
  ['no list', { op: 'log' }, 'the script is a list of steps'],
  ['a step that is none', [7], 'step 1 of the script is not an object'],
  ['an unknown step', [{ op: 'log', text: 'a' }, { op: 'fly' }], /^step 2 of the script: unknown_operation/],
  ['a file outside', [{ op: 'write', name: '../a', text: '' }], /^step 1 of the script: name: it /],
  ['a wait without end', [{ op: 'wait', ms: null }], 'step 1 of the script: ms: 0 to 86400000'],
  ['a tool without a kind', [{ op: 'permit', tool: 'rm' }], 'step 1 of the script: kind: permit needs it'],
  ['no result', [], 'the script ended without a result'],
])('a script with %s fails the task by that name', async (_, script, error) => {
  const ran = await replay(script)
  const result = (await ran.session.result) as { outcome: string; error: string }
  expect(result.outcome).toBe('failed')
  expect(result.error).toMatch(error)
})

test('a card whose run is not one script is refused by name', async () => {
  const ran = await replay([], ['node', '{param:script}'])
  expect(await ran.session.result).toMatchObject({ outcome: 'failed', error: expect.stringContaining('is one word') })
})

test('S4-7: a step asks whether a tool may be used, and is over once that is answered, by no other frame (fault F13)', async () => {
  const other = '019b8d62-7ac6-76c3-80d1-3350a4c37821'
  bench.hooks.onAccepted = (session, { kind, id }) => {
    if (kind !== 'permit') return
    // Other frames come first: under another id, without one, and of other kinds.
    session.deliver({ kind: 'reply', correlationId: other, body: { approved: true, text: 'another' } })
    session.deliver({ kind: 'refused', correlationId: other, body: { code: 'inbox_closed' } })
    session.deliver({ kind: 'message', id, messageKind: 'event', type: 'x.y', body: { approved: true } })
    session.deliver({
      kind: 'message',
      messageKind: 'event',
      type: 'approval.answered',
      body: { approval: id, answer: 'approved', text: '' },
    })
    setTimeout(
      () => session.deliver({ kind: 'reply', correlationId: id, body: { approved: false, text: 'not today' } }),
      50,
    )
  }
  const asked = { op: 'permit', tool: 'rm', kind: 'delete', title: 'rm -r build', arguments: { path: 'build' } }
  const ran = await replay([{ ...asked, expect: 'denied' }, asked, { op: 'log', text: 'never' }])
  expect(await ran.session.result).toMatchObject({
    outcome: 'failed',
    error: 'step 2 of the script: rm was denied: not today',
  })
  expect(ran.logs()).not.toContain('never')
  const { op: _, ...body } = asked
  expect(ran.envelopes('permit').map((each) => each.body)).toEqual([body, body])
})
