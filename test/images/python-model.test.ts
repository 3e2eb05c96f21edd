/** The program of the recipe `python-model`, as it is copied, behind the shim and before a scripted model. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type ModelServer, startModelServer } from '../support/models/model-server.ts'
import type { Script } from '../support/models/turn.ts'
import { createShimBench, PYTHON } from '../support/shim-process.ts'

const PROGRAM = resolve(import.meta.dirname, '../../hub/client/templates/python-model/main.py')
let bench: ReturnType<typeof createShimBench>
let models: ModelServer
beforeEach(async () => {
  bench = createShimBench()
  models = await startModelServer()
})
afterEach(async () => {
  await bench.close()
  await models[Symbol.asyncDispose]()
})

async function start(
  script: Script,
  { params = { task: 'Do it.' } as object, spec = { model: 'm-1' } as object } = {},
) {
  models.script = script
  return await bench.start({
    program: { driver: 'json-lines', run: [PYTHON, PROGRAM], env: { MODEL_URL: models.url } },
    task: { params: { ...params }, spec, inputs: await bench.inputs({ 'notes/a.txt': 'the answer is 42' }) },
  })
}
const call = (name: string, input: Record<string, unknown> = {}) => ({ name, input })

test('python-model reads its input, keeps a file and answers; it sends no key', async () => {
  const ran = await start(({ turn, results }) => {
    if (turn === 0) return { text: 'I look.', calls: [call('list_files')] }
    if (turn === 1) return { calls: [call('read_file', { path: 'notes/a.txt' }), call('read_file', { path: 'b' })] }
    if (turn === 2) return { calls: [call('write_file', { path: 'sub/found.md', text: results.join('|') })] }
    return { text: `Done: ${results}` }
  })
  expect(await ran.session.result).toMatchObject({
    ...{ outcome: 'succeeded', stopReason: 'end_turn' },
    value: { turns: 4, text: 'Done: kept sub/found.md' },
  })
  expect(ran.artifact('sub/found.md')).toMatch(/^the answer is 42\|failed: .*No such file/)
  expect(models.came[0]?.ask).toMatchObject({ model: 'm-1', cap: 8192, text: 'Do it.' })
  expect(models.came.flatMap(({ headers }) => [headers['x-api-key'], headers.authorization])).toEqual(
    Array(8).fill(undefined),
  )
  expect(ran.envelopes('progress').at(-1)?.body).toEqual({ text: 'turn 4', done: 3, total: 40 })
})

test('python-model keeps its model inside its folders, and tells it of a tool that is not there', async () => {
  const told: string[] = []
  const ran = await start(({ turn, results }) => {
    told.push(...results)
    const outside = call('write_file', { path: '../escaped.txt', text: 'x' })
    if (turn === 0)
      return { calls: [outside, call('read_file', { path: '/etc/passwd' }), call('read_file'), call('shell')] }
    return { text: 'Done.' }
  })
  expect((await ran.session.result).outcome).toBe('succeeded')
  expect(told).toEqual([
    'failed: ../escaped.txt leads out of out/',
    'failed: /etc/passwd leads out of in/',
    expect.stringContaining('failed: read_file() missing'),
    'failed: there is no tool shell',
  ])
  expect(existsSync(join(ran.workspace, 'escaped.txt'))).toBe(false)
})

test('python-model ends with the reason when the hub says no, after one request; what is busy it asks again', async () => {
  const refused = await start(() => ({ status: 402, body: { error: 'budget_exceeded' } }))
  expect(await refused.session.result).toMatchObject({
    outcome: 'failed',
    error: 'the model was not reached (402): {"error":"budget_exceeded"}',
  })
  expect(models.came).toHaveLength(1)
  const busy = await start(() =>
    models.came.length === 2 ? { status: 529, headers: { 'retry-after': '0.05' } } : { text: 'At last.' },
  )
  expect(await busy.session.result).toMatchObject({ value: { turns: 1, text: 'At last.' } })
  expect(models.came).toHaveLength(3)
  const full = await start(() => ({ status: 429, headers: { 'retry-after': '7200' } }))
  expect(await full.session.result).toMatchObject({ error: 'the model has no room for 7200 s (429)' })
})

test('python-model obeys what its task asks of its model, and names what is missing', async () => {
  const spec = { model: 'm-2', system: 'Be brief.', maxTurns: 2 }
  const endless = await start(() => ({ calls: [call('list_files')] }), { spec })
  expect(await endless.session.result).toMatchObject({ outcome: 'failed', error: 'not done after 2 turns' })
  expect(models.came[0]?.ask).toMatchObject({ model: 'm-2', body: { system: 'Be brief.' } })
  const without = await start(() => ({ text: '' }), { params: {} })
  expect(await without.session.result).toMatchObject({ error: 'params.task is what to do, in words' })
  const cut = await start(() => ({ text: 'x'.repeat(40_000) }))
  expect(await cut.session.result).toMatchObject({ error: expect.stringContaining('raise MOST_OUTPUT') })
})

test('python-model tells its model what the hub says of the money (S2-30)', async () => {
  const told = Promise.withResolvers<void>()
  const answers: string[] = []
  const ran = await start(async ({ turn, results }) => {
    answers.push(...results)
    if (turn === 2) return { text: 'Done.' }
    if (turn === 0) await told.promise
    return { calls: [call('list_files')] }
  })
  await expect.poll(() => models.came.length, { interval: 10 }).toBe(1)
  const body = { of: 'tree', mark: 80, spentUsd: 1_600_000, limitUsd: 2_000_000 }
  ran.session.deliver({ kind: 'message', messageKind: 'event', type: 'budget.low', body })
  await expect.poll(() => ran.session.seen.some(({ path }) => path.startsWith('/v1/receive?after=1'))).toBe(true)
  told.resolve()
  expect((await ran.session.result).outcome).toBe('succeeded')
  const said = '[1.6 of 2 USD (tree) are spent. A call that does not fit is refused: finish in time.]'
  expect(answers).toEqual([`notes/a.txt 16\n${said}`, 'notes/a.txt 16'])
})
