/** Limits: a card only lowers, nothing passes its ceiling, nothing is unlimited (T96, sandbox.md section 5). */
import { expect, test } from 'vitest'
import { DEFAULT_LIMITS, LIMIT_CEILINGS } from '../../../../hub/protocol/agent.ts'
import { limitsFor } from '../../../../hub/work/sandbox/limits.ts'

test('a card lowers what is configured and cannot raise it', () => {
  const limits = limitsFor({ memory: 64 * 1024 ** 2, pids: 1000 }, DEFAULT_LIMITS, LIMIT_CEILINGS)
  expect(limits).toEqual({ ...DEFAULT_LIMITS, memoryBytes: 64 * 1024 ** 2 })
})

test('T96: a card above the ceiling is refused, naming key, value and ceiling', () => {
  expect(() => limitsFor({ ttl: 10 * 365 * 86_400_000 }, DEFAULT_LIMITS, LIMIT_CEILINGS)).toThrow(
    expect.objectContaining({
      code: 'limit_exceeded',
      message: 'limits.ttl is 315360000000: its ceiling is 86400000',
      facts: { key: 'limits.ttl', value: 315_360_000_000, ceiling: 86_400_000 },
    }),
  )
})

test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1.5, undefined, null, '128'])(
  'a configured number of processes of %s is an error, never unlimited',
  (pids) => {
    const configured = { ...DEFAULT_LIMITS, pids: pids as number }
    expect(() => limitsFor({}, configured, LIMIT_CEILINGS)).toThrow(expect.objectContaining({ code: 'limit_exceeded' }))
  },
)

test.each(Object.keys(LIMIT_CEILINGS) as (keyof typeof LIMIT_CEILINGS)[])(
  '%s is refused one above its ceiling',
  (name) => {
    const at = { ...DEFAULT_LIMITS, [name]: LIMIT_CEILINGS[name] }
    expect(limitsFor({}, at, LIMIT_CEILINGS)[name]).toBe(LIMIT_CEILINGS[name])
    expect(() => limitsFor({}, { ...at, [name]: LIMIT_CEILINGS[name] + 1 }, LIMIT_CEILINGS)).toThrow(/its ceiling is/)
  },
)
