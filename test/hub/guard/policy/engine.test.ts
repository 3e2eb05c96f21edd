import { expect, test } from 'vitest'
import { createEngine, INPUT_BYTES_MAX, judgeResult, RULE_CODES } from '../../../../hub/guard/policy/engine.ts'

const good = { version: 1, allow: true, ask: false, reason: 'allowed', rule: 'r' }
const set = (change: object) => [{ result: { ...good, ...change } }]

test('T20: the exact document allows, asks or denies', () => {
  expect(judgeResult(set({}))).toEqual({ effect: 'allow', reason: 'allowed', rule: 'r', fault: false })
  expect(judgeResult(set({ ask: true }))).toMatchObject({ effect: 'ask' })
  expect(judgeResult(set({ allow: false }))).toMatchObject({ effect: 'deny' })
  expect(judgeResult(set({ allow: false, ask: true }))).toMatchObject({ effect: 'deny' })
  expect(judgeResult(set({ narrow: { capabilities: ['a'], ttlMs: 5, agents: [] } }))).toMatchObject({
    narrow: { capabilities: ['a'], ttlMs: 5, agents: [] },
  })
})

test('T20: a no carries a code of the list, or none; its sentence is never read for one', () => {
  for (const code of RULE_CODES)
    expect(judgeResult(set({ allow: false, code }))).toMatchObject({ effect: 'deny', code })
  const reason = 'delegation_depth: this chain may go no deeper'
  expect(judgeResult(set({ allow: false, reason }))).toEqual({ effect: 'deny', reason, rule: 'r', fault: false })
})

const outcomes: [name: string, outcome: unknown][] = [
  ['undefined', undefined],
  ['null', null],
  ['an empty set', []],
  ['two results', [...set({}), ...set({})]],
  ['a bare true', true],
  ['a set with true', [true]],
  ['a result true', [{ result: true }]],
  ['a result that is a list', [{ result: [good] }]],
  ['no result', [{}]],
  ['a null result', [{ result: null }]],
  ['the string "true"', set({ allow: 'true' })],
  ['a number', set({ allow: 1 })],
  ['allow missing', set({ allow: undefined })],
  ['ask missing', set({ ask: undefined })],
  ['ask null', set({ ask: null })],
  ['no version', set({ version: undefined })],
  ['version 2', set({ version: 2 })],
  ['version "1"', set({ version: '1' })],
  ['no rule', set({ rule: undefined })],
  ['a reason that is no text', set({ reason: 5 })],
  ['an endless reason', set({ reason: 'x'.repeat(2001) })],
  ['an unknown narrowing', set({ narrow: { secrets: [] } })],
  ['a narrowing that is a list', set({ narrow: [] })],
  ['a null narrowing', set({ narrow: null })],
  ['a span that is no number', set({ narrow: { ttlMs: '5' } })],
  ['a span of nothing', set({ narrow: { ttlMs: 0 } })],
  ['a no with an unknown code', set({ allow: false, code: 'not_allowed' })],
  ['a no with a code that the rules may not give', set({ allow: false, code: 'policy_unavailable' })],
  ['a no with a code that is no text', set({ allow: false, code: 5 })],
  ['a no with the code null', set({ allow: false, code: null })],
  ['a yes with a code', set({ code: 'policy_denied' })],
  ['capabilities that are no texts', set({ narrow: { capabilities: [1] } })],
]

test.for(outcomes)('T20: %s is a deny, and a fault of the policy', ([, outcome]) => {
  const faults: string[] = []
  const engine = createEngine(
    () => ({ evaluate: () => outcome }),
    (reason) => faults.push(reason),
  )
  expect(engine.evaluate('{}')).toMatchObject({ effect: 'deny', rule: 'hub.guard.fault', fault: true })
  expect(faults).toHaveLength(1)
})

test('T20: after a throw a new instance answers, and only then', () => {
  let made = 0
  let failing = false
  const engine = createEngine(
    () => {
      made += 1
      return {
        evaluate: () => {
          if (failing) throw 'unreachable'
          return set({})
        },
      }
    },
    () => {},
  )
  expect(engine.evaluate('{}').effect).toBe('allow')
  expect(engine.evaluate('{}').effect).toBe('allow')
  expect(made).toBe(1)
  failing = true
  expect(engine.evaluate('{}')).toMatchObject({ effect: 'deny', fault: true })
  failing = false
  expect(engine.evaluate('{}').effect).toBe('allow')
  expect(made).toBe(2)
})

test('T20: when no instance can be made, every answer is a deny', () => {
  const engine = createEngine(
    () => {
      throw new Error('no memory')
    },
    () => {},
  )
  expect(engine.evaluate('{}')).toMatchObject({
    effect: 'deny',
    fault: true,
    reason: expect.stringContaining('no memory'),
  })
  expect(engine.evaluate('{}').effect).toBe('deny')
})

test('T20: an input over 64 KiB is refused before the module sees it, one of 64 KiB is not', () => {
  let asked = 0
  const engine = createEngine(
    () => ({
      evaluate: () => {
        asked += 1
        return set({})
      },
    }),
    () => {},
  )
  expect(engine.evaluate('x'.repeat(INPUT_BYTES_MAX + 1))).toMatchObject({
    effect: 'deny',
    rule: 'hub.guard.input_bytes',
  })
  // Bytes are counted, not characters.
  expect(engine.evaluate('ä'.repeat(INPUT_BYTES_MAX / 2 + 1)).effect).toBe('deny')
  expect(asked).toBe(0)
  expect(engine.evaluate('x'.repeat(INPUT_BYTES_MAX)).effect).toBe('allow')
})
