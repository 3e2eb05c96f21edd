/** What a task asks of its agent's model, and the places for it in a card (S4-6). */
import { describe, expect, it, test } from 'vitest'
import { agentCardShape } from '../../../hub/protocol/agent.ts'
import { taskSpecShape } from '../../../hub/protocol/task-spec.ts'
import { envWith, type Wishes } from '../../../hub/protocol/wish-places.ts'
import { paramFault, taskFault, wishFault } from '../../../hub/protocol/wishes.ts'
import { expandArgv } from '../../../images/agent/argv.ts'

const ALL: Wishes = { model: 'm-1', system: 'Be brief.', maxTurns: 7, budget: 1_250_000 }
const card = (more: object) => ({ name: 'coder', driver: 'command' as const, run: ['cli'], env: {}, ...more })

describe('S4-6: places', () => {
  test.each<[driver: 'sdk' | 'json-lines' | 'stub']>([['sdk'], ['json-lines'], ['stub']])(
    'a program of %s is told all of it',
    (driver) => expect(wishFault(card({ driver }), ALL)).toBeUndefined(),
  )

  test.each<[wish: keyof Wishes, more: object]>([
    ['model', { run: ['cli', '--model={model}'] }],
    ['system', { run: ['cli', '{system}'] }],
    ['maxTurns', { env: { TURNS: '{maxTurns}' } }],
    ['budget', { env: { BUDGET: '{budget}' } }],
    ['budget', { run: ['cli', '{budgetUsd}'] }],
  ])('%s has a place only where the card names it', (wish, more) => {
    const asked = { [wish]: ALL[wish] }
    for (const driver of ['command', 'stream-json'] as const) {
      expect(wishFault(card({ driver, ...more }), asked)).toBeUndefined()
      expect(wishFault(card({ driver }), asked)).toMatch(`spec.${wish}: agent coder has no place for`)
    }
  })

  it('a place in run without a value is refused by name, and one in env is not', () => {
    const run = ['cli', '{model}', '{budget}']
    expect(wishFault(card({ run }), { budget: 1 })).toBe(
      'spec.model: agent coder needs a model: hub submit --model NAME, or defaults.model in its card',
    )
    expect(wishFault(card({ run, defaults: { model: 'm' } }), {})).toBe(
      'spec.budget: agent coder needs an amount of money: hub submit --usd AMOUNT',
    )
    expect(wishFault(card({ run, defaults: { model: 'm' } }), { budget: 1 })).toBeUndefined()
    expect(wishFault(card({ env: { MODEL: '{model}' } }), {})).toBeUndefined()
  })
})

describe('parameters', () => {
  const run = ['cli', '{param:task}', '--mode={param:mode}{earlier}', '{param:task}']

  test.each<[what: string, more: object, params: object, fault: string | undefined]>([
    [
      'all of them',
      { run },
      {},
      'params: agent coder needs the parameters task, mode: add --param task=... --param mode=...',
    ],
    ['one', { run }, { task: 'x' }, 'params: agent coder needs the parameter mode: add --param mode=...'],
    [
      'one that is null',
      { run },
      { task: 'x', mode: null },
      'params: agent coder needs the parameter mode: add --param mode=...',
    ],
    ['none', { run }, { task: '', mode: 0, other: 1 }, undefined],
    [
      'a name of every object',
      { run: ['{param:constructor}'] },
      {},
      expect.stringContaining('--param constructor=...'),
    ],
    [
      'a NUL',
      { run: ['{param:task}'] },
      { task: 'a\0b' },
      'params.task: it holds a NUL, which no argument of a program can',
    ],
    ['a script', { driver: 'stub', run: ['{param:script}'] }, {}, expect.stringContaining('--param script=...')],
    ['the prompt of a task', { driver: 'acp' }, {}, expect.stringContaining('--param task=...')],
    ['no prompt of a chat', { driver: 'acp', mode: 'chat' }, {}, undefined],
    ['nothing of the SDK', { driver: 'sdk', run }, {}, undefined],
    ['nothing of JSON lines', { driver: 'json-lines', run }, {}, undefined],
  ])('what its command names and the task lacks is refused by name: %s', (_, more, params, fault) => {
    expect(paramFault(card(more), params as Record<string, unknown>)).toEqual(fault)
    expect(taskFault(card(more), { spec: null, params: params as Record<string, unknown> })).toEqual(fault)
  })

  it('what the shim cannot fill in is what is refused, by the same names', () => {
    for (const params of [{}, { task: 'x' }, { task: 'x', mode: 'y' }]) {
      const given = { input: undefined, params }
      const fault = paramFault(card({ run }), params)
      if (fault === undefined) expect(expandArgv(run, given).argv).toEqual(['cli', 'x', '--mode=y{earlier}', 'x'])
      else expect(() => expandArgv(run, given)).toThrow('--param ')
    }
  })
})

describe('S4-6: values', () => {
  it('each stands in its place, within its one word, and is not read again', () => {
    const run = ['cli', '--model={model}', '{system}', '{maxTurns}', '{budget}', '{budgetUsd}']
    const spec = { ...ALL, system: '{input} {model} $(x) "y"' }
    expect(expandArgv(run, { input: undefined, params: {}, spec })).toEqual({
      argv: ['cli', '--model=m-1', '{input} {model} $(x) "y"', '7', '1250000', '1.25'],
      namesInput: false,
    })
  })

  it('a variable whose value is not known is left out', () => {
    const env = { MODEL: '{model}', BOTH: '{model} {maxTurns}', PLAIN: 'a {b}' }
    expect(envWith(env, { model: '{maxTurns}' })).toEqual({ MODEL: '{maxTurns}', PLAIN: 'a {b}' })
    expect(envWith(env, {})).toEqual({ PLAIN: 'a {b}' })
  })

  test.each<[what: string, spec: object]>([
    ['a model that an option could be', { model: '--dangerous' }],
    ['a model with a space', { model: 'a b' }],
    ['an empty model', { model: '' }],
    ['a system prompt that is too long', { system: 'x'.repeat(16_385) }],
    ['a system prompt with a NUL', { system: 'a\0b' }],
    ['no turns', { maxTurns: 0 }],
    ['half a turn', { maxTurns: 1.5 }],
    ['no money', { budget: 0 }],
    ['a word that is not known', { temperature: 1 }],
  ])('%s is refused', (_, spec) => expect(taskSpecShape.safeParse(spec).success).toBe(false))

  it('a card may say what its tasks have where they say nothing; its budget is in hub.yaml', () => {
    const given = { name: 'coder', description: 'x', image: 'hub/coder', run: ['cli'] }
    expect(agentCardShape.parse({ ...given, defaults: { model: 'm' } }).defaults).toEqual({ model: 'm' })
    expect(agentCardShape.parse(given)).not.toHaveProperty('defaults')
    expect(agentCardShape.safeParse({ ...given, defaults: { budget: 1 } }).success).toBe(false)
  })
})
