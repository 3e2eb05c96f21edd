/** The model agent as a process of the shim, before a scripted model: its loop, its tools, and what it says when the model says no. */
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ModelServer, startModelServer } from '../support/models/model-server.ts'
import type { Script } from '../support/models/turn.ts'
import { createShimBench } from '../support/shim-process.ts'

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

async function assistant(shape: string, script: Script, { task = 'Do it.', egress = models.url, ...env } = {}) {
  models.script = script
  const inputs = await bench.inputs({ 'notes/a.txt': 'the answer is 42' })
  return await bench.start({
    program: {
      driver: 'sdk',
      run: ['node', `${import.meta.dirname}/../../images/assistant/main.ts`],
      env: {
        ...{ HUB_EGRESS: egress, ASSISTANT_UPSTREAM: 'models', ASSISTANT_SHAPE: shape, ASSISTANT_MODEL: 'm-1' },
        ...{ ASSISTANT_MAX_OUTPUT: '500', ASSISTANT_TURNS: '4', ...env },
      },
    },
    task: { params: { task }, inputs },
  })
}

/** Lists, reads two at once of which one is not there, keeps, and is done. */
const diligent: Script = ({ turn, results }) => {
  if (results.length === 0) return { calls: [{ name: 'list_files', input: {} }] }
  if (turn === 1)
    return { text: 'Reading.', calls: ['notes/a.txt', 'b'].map((path) => ({ name: 'read_file', input: { path } })) }
  if (results.length === 2)
    return { calls: [{ name: 'write_artifact', input: { name: 'found.md', text: results.join('|') } }] }
  return { text: `Done: ${results}` }
}

describe('images/assistant', () => {
  test.each(['messages', 'responses'])('reads its input, keeps a file and answers, by %s', async (shape) => {
    const run = await assistant(shape, diligent)
    expect(await run.session.result).toMatchObject({
      outcome: 'succeeded',
      value: { text: 'Done: kept 65 bytes as found.md' },
    })
    expect(run.artifact('found.md')).toBe('the answer is 42|failed: there is no file b; list_files shows all')
    expect(run.artifact('answer.md')).toBe('Done: kept 65 bytes as found.md\n')
    const [first] = models.came
    expect(first?.ask).toMatchObject({ model: 'm-1', cap: 500, text: 'Do it.' })
    expect(first?.headers['x-api-key'] ?? first?.headers.authorization).toBeUndefined()
    if (shape === 'responses') expect(first?.ask?.body.store).toBe(false)
  })

  test.each([
    [402, 'the model was not reached (402): {"error":"budget_exceeded"}'],
    [403, 'the model was not reached (403): {"error":"budget_exceeded"}'],
  ])('ends with the reason when the hub says no (%i), after one request', async (status, error) => {
    const run = await assistant('messages', () => ({ status, body: { error: 'budget_exceeded' } }))
    expect(await run.session.result).toMatchObject({ outcome: 'failed', error })
    expect(models.came).toHaveLength(1)
  })

  test('tries again what is busy, and does not wait for hours', async () => {
    let tries = 0
    const busy = await assistant('messages', () =>
      tries++ === 0 ? { status: 529, headers: { 'retry-after': '0.05' } } : { text: 'At last.' },
    )
    expect(await busy.session.result).toMatchObject({ outcome: 'succeeded', value: { turns: 1, text: 'At last.' } })
    const full = await assistant('messages', () => ({ status: 429, headers: { 'retry-after': '7200' } }))
    expect(await full.session.result).toMatchObject({ error: 'the model has no room for 7200 s (429)' })
  })

  test('ends when the model goes on for ever, is cut at its cap, or is asked in a shape that is not there', async () => {
    const endless = await assistant('messages', () => ({ calls: [{ name: 'list_files', input: {} }] }))
    expect(await endless.session.result).toMatchObject({ error: expect.stringContaining('not done after 4 turns') })
    const cut = await assistant('messages', () => ({ text: 'x'.repeat(5000) }))
    expect(await cut.session.result).toMatchObject({ error: expect.stringContaining('raise it in the card') })
    const shape = await assistant('chat', () => ({ text: '' }))
    expect(await shape.session.result).toMatchObject({
      error: expect.stringContaining('must be messages or responses'),
    })
  })

  test.each(['messages', 'responses'])(
    'tells its model once what the hub says of the money, by %s (S2-30)',
    async (shape) => {
      const told = Promise.withResolvers<void>()
      const answers: string[] = []
      const run = await assistant(shape, async ({ turn, results }) => {
        answers.push(...results)
        if (turn === 2) return { text: 'Done.' }
        if (turn === 0) await told.promise
        return { calls: [{ name: 'list_files', input: {} }] }
      })
      await expect.poll(() => models.came.length, { interval: 10 }).toBe(1)
      const body = { of: 'tree', mark: 80, spentUsd: 1_600_000, limitUsd: 2_000_000 }
      run.session.deliver({ kind: 'message', messageKind: 'event', type: 'budget.low', body })
      // What was delivered was handed over before the next is asked for.
      await expect.poll(() => run.session.seen.some(({ path }) => path.startsWith('/v1/receive?after=1'))).toBe(true)
      told.resolve()
      expect((await run.session.result).outcome).toBe('succeeded')
      const said = '[1.6 of 2 USD (limit: tree) are spent. A call that does not fit is refused: finish in time.]'
      expect(answers).toEqual([`notes/a.txt 16\n${said}`, 'notes/a.txt 16'])
    },
  )

  test('is in no new home, as no card of the hub is: they lie beside the hub', () => {
    const home = join(bench.dir, 'h')
    execFileSync(process.execPath, [resolve(import.meta.dirname, '../../hub/main.ts'), 'init', '--home', home])
    expect(readdirSync(join(home, 'agents')).filter((name) => name.endsWith('.yaml'))).toEqual([])
  })
})
