/** What a task asks of its agent's model, from the submit to the join (S4-6). */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { hubPrincipal } from '../../hub/guard/principal.ts'
import { createHarness, puppet } from '../support/hub-harness.ts'

const ALL = { model: 'm-1', system: 'Be brief.', maxTurns: 7, budget: 20_000 }
const upstreams = { claude: { kind: 'anthropic', secret: 'anthropic-key' } }
const cli = {
  driver: 'command',
  run: ['cli', '{model}', '{maxTurns}'],
  env: { BUDGET: '{budget}', TURNS: '{maxTurns}' },
}

test('S4-6: it reaches the join, with the card for the rest; a retry and a child have it too; a child is to cost no more', async () => {
  await using h = await createHarness({
    agents: {
      lead: { script: puppet, card: { may: { delegate: ['coder', 'lead'] }, defaults: { model: 'd', maxTurns: 3 } } },
      coder: { script: puppet, card: { ...cli, defaults: { maxTurns: 3 } } },
    },
  })
  const id = await h.submit('lead', {}, { spec: { system: 'Be brief.', budget: 20_000 } })
  await h.working(1)
  const lead = h.started[0]
  expect(lead?.joined?.task.spec).toEqual({ model: 'd', maxTurns: 3, system: 'Be brief.', budget: 20_000 })
  expect(h.task(id).spec).toEqual({ system: 'Be brief.', budget: 20_000 })

  const delegate = await lead?.delegate({ agent: 'coder', spec: { model: 'm-1', budget: 9000 } })
  await h.working(2)
  const { program, task } = h.started[1]?.joined ?? {}
  expect(task?.spec).toEqual({ model: 'm-1', maxTurns: 3, budget: 9000 })
  expect(program).toMatchObject({ run: cli.run, env: { BUDGET: '9000', TURNS: '3' } })
  const refused = async (spec: object) =>
    (await lead?.send({ kind: 'delegate', to: 'hub', body: { agent: 'coder', spec } }))?.body
  expect(await refused({ ...ALL, system: undefined, budget: 20_001 })).toMatchObject({ code: 'delegation_wider' })
  expect(await refused(ALL)).toMatchObject({
    ...{ code: 'schema_invalid', detail: expect.stringMatching(/^spec.system: agent coder has no place for a system/) },
  })
  expect(await refused({ repository: {} })).toMatchObject({ code: 'schema_invalid' })
  expect(delegate).toBeDefined()

  await h.operator('POST', `/v1/tasks/${id}/cancel`)
  await h.quiet()
  const again = await h.operator('POST', `/v1/tasks/${id}/retry`)
  expect(again.body.task).toMatchObject({ spec: { system: 'Be brief.', budget: 20_000 } })
})

test('S4-20: why its model stopped is kept with the result, and told to the agent that delegated', async () => {
  await using h = await createHarness({
    agents: {
      lead: { script: puppet, card: { may: { delegate: ['coder'] } } },
      coder: { script: puppet },
    },
  })
  const [lead] = await h.bring('lead')
  const delegate = await lead.delegate({ agent: 'coder' })
  await h.working(2)
  await h.pumped(
    h.started[1]?.resultBody({ outcome: 'succeeded', value: 1, stopReason: 'max_tokens' }) as Promise<void>,
  )
  const outcome = await h.pumped(lead.outcome(delegate))
  expect(outcome).toMatchObject({ outcome: 'succeeded', stopReason: 'max_tokens' })
  const shown = await h.operator('GET', `/v1/tasks/${String(outcome.task)}`)
  expect(shown.body.task).toMatchObject({ outcome: { outcome: 'succeeded', value: 1, stopReason: 'max_tokens' } })
})

test('S4-6: what has no place in the card is refused by name, for a named agent and for any that can', async () => {
  await using h = await createHarness({
    agents: {
      coder: { script: puppet, card: { ...cli, capabilities: ['code'] } },
      plain: { script: puppet, card: { driver: 'command', run: ['cli'], capabilities: ['code'] } },
    },
  })
  const asked = async (more: object) => (await h.operator('POST', '/v1/tasks', more)).body
  expect(await asked({ agent: 'plain', spec: { model: 'm' } })).toMatchObject({
    code: 'schema_invalid',
    detail: 'spec.model: agent plain has no place for a model: write {model} into run or env of its card',
  })
  expect(await asked({ agent: 'coder', spec: { model: 'm' } })).toMatchObject({
    code: 'schema_invalid',
    detail:
      'spec.maxTurns: agent coder needs a number of turns: hub submit --max-turns N, or defaults.maxTurns in its card',
  })
  expect(await asked({ needs: ['code'], spec: { system: 'x' } })).toMatchObject({ code: 'schema_invalid' })
  const { task } = await asked({ needs: ['code'], spec: { model: 'm', maxTurns: 2 } })
  await h.working(1)
  expect([h.started[0]?.agent, h.started[0]?.joined?.task.task]).toEqual(['coder', (task as { id: string }).id])
})

test('a parameter that the command of a card names is asked for at the submit, the delegation and the retry, and before its session', async () => {
  const named = { ...cli, run: ['cli', '{param:task}'], env: {}, capabilities: ['code'] }
  await using h = await createHarness({
    agents: {
      lead: { script: puppet, card: { may: { delegate: ['coder'] } } },
      coder: { script: puppet, card: named },
      other: { script: puppet, card: { ...named, run: ['cli', '{param:other}'] } },
    },
  })
  const lacks = { code: 'schema_invalid', detail: 'params: agent coder needs the parameter task: add --param task=...' }
  const asked = async (more: object) => (await h.operator('POST', '/v1/tasks', more)).body
  expect(await asked({ agent: 'coder' })).toMatchObject(lacks)
  expect(await asked({ agent: 'coder', params: { task: null } })).toMatchObject(lacks)
  expect(await asked({ needs: ['code'], params: {} })).toMatchObject(lacks)
  // One that is told all of it is chosen.
  const any = (await asked({ needs: ['code'], params: { other: 'x' } })).task as { id: string }
  await h.working(1)
  expect(h.started[0]?.agent).toBe('other')
  const [lead] = await h.bring('lead')
  const refused = await lead.send({ kind: 'delegate', to: 'hub', body: { agent: 'coder' } })
  expect(refused.body).toMatchObject(lacks)

  // Its card has changed since.
  await h.operator('POST', `/v1/tasks/${any.id}/cancel`)
  await h.ended(any.id)
  const file = join(h.home, 'agents/other.yaml')
  writeFileSync(file, readFileSync(file, 'utf8').replace('{param:other}', '{param:more}'))
  await h.operator('POST', '/v1/agents/reload', {})
  const again = await h.operator('POST', `/v1/tasks/${any.id}/retry`)
  expect(again.body).toMatchObject({ code: 'schema_invalid', detail: expect.stringContaining('--param more=...') })
})

test('S4-6: a model that no upstream of the agent has a price for is refused at once; an agent without one may be asked for any', async () => {
  await using h = await createHarness({
    agents: { clever: { script: puppet, card: { may: { egress: ['claude'] } } }, other: { script: puppet } },
    config: { upstreams },
  })
  const asked = (agent: string, model: string) => h.operator('POST', '/v1/tasks', { agent, spec: { model } })
  expect((await asked('clever', 'claude-opus-9')).body).toMatchObject({
    ...{ code: 'model_unknown', detail: expect.stringContaining('claude-opus-9') },
  })
  for (const [agent, model] of [
    ['clever', 'claude-haiku-4-5'],
    ['other', 'anything'],
  ] as const)
    expect((await asked(agent, model)).status).toBe(200)
})

test('S4-30: a session is told what is left of the money that its task was to cost, not all of it', async () => {
  await using h = await createHarness({
    agents: { clever: { script: puppet, card: { repeatable: true, may: { egress: ['claude'] } } } },
    config: { upstreams },
  })
  const id = await h.submit('clever', {}, { spec: { budget: 20_000 } })
  await h.working(1)
  const row = h.hub.work.tasks.session(h.started[0]?.session ?? '')
  if (row === undefined) throw new Error('no session')
  const { money } = h.hub.work
  const call = {
    ...{ upstream: 'claude', shape: 'messages', model: 'claude-haiku-4-5', inputBytes: 1000, prefixes: [], choices: 1 },
    ...{ askedOutput: 1000, maxOutput: 32_000, surcharges: [], free: false },
    media: { images: 0, documents: 0, audios: 0, videos: 0 },
  } as const
  const settling = { principal: hubPrincipal('egress'), operation: 'egress.settle', resource: 'test' } as const
  h.hub.guard.gate.admit(settling, (grant) => money.reserve(grant, { ...money.payerOf(row), ...call } as never))
  h.started[0]?.container.exit(1)
  await h.until(() => h.started[1]?.joined)
  expect(h.started[1]?.joined?.task.spec).toEqual({ budget: 20_000 - 7530 })
  expect(h.task(id).spec).toEqual({ budget: 20_000 })
})
