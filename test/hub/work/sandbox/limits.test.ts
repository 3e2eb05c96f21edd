/** Limits: a card only lowers, nothing passes its ceiling, nothing is unlimited (T96, docs/sandbox.md 5). */
import { expect, test } from 'vitest'
import { DEFAULT_LIMITS, LIMIT_CEILINGS } from '../../../../hub/protocol/agent.ts'
import { limitsFor } from '../../../../hub/work/sandbox/limits.ts'

test('a card lowers what is configured', () => {
  const limits = limitsFor({ memory: 64 * 1024 ** 2, pids: 100 }, DEFAULT_LIMITS, LIMIT_CEILINGS)
  expect(limits).toEqual({ ...DEFAULT_LIMITS, memoryBytes: 64 * 1024 ** 2, pids: 100 })
})

test.each([
  [{ ttl: 2 * 3_600_000 }, 'limits.ttl is 2h; hub.yaml allows 1h: ask for less, or raise limits.agents.big.ttl'],
  [{ memory: 1024 ** 3 }, 'limits.memory is 1GiB; hub.yaml allows 512MiB'],
  [{ memory: 600_000_000 }, 'limits.memory is 600MB; hub.yaml allows 512MiB'],
  [{ cpus: 1.5 }, 'limits.cpus is 1.5; hub.yaml allows 1'],
  [{ pids: 129 }, 'limits.pids is 129; hub.yaml allows 128'],
  [{ tmp: 65 * 1024 ** 2 }, 'limits.tmp is 65MiB; hub.yaml allows 64MiB'],
  [{ workspace: 1024 ** 3 }, 'limits.workspace is 1GiB; hub.yaml allows 256MiB'],
  [{ openFiles: 257 }, 'limits.openFiles is 257; hub.yaml allows 256'],
])('S1-52: a card above what is configured is refused with both figures, never lowered: %o', (card, words) => {
  expect(() => limitsFor(card, DEFAULT_LIMITS, LIMIT_CEILINGS, 'big')).toThrow(words)
})

test('T96: a card above the ceiling is refused, naming key, value and ceiling', () => {
  expect(() => limitsFor({ ttl: 10 * 365 * 86_400_000 }, DEFAULT_LIMITS, LIMIT_CEILINGS)).toThrow(
    expect.objectContaining({
      code: 'limit_exceeded',
      message: 'limits.ttl is 87600h; its ceiling is 24h',
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
