/** One back-off for every wrong credential from outside (T16, T17). */
import { expect, test } from 'vitest'
import { BEARER_TRIES, CARD_TRIES, createWrongTries } from '../../../../hub/edge/people/wrong-tries.ts'

function open(options = BEARER_TRIES) {
  let nowMs = 0
  const tries = createWrongTries(options, { monotonicMs: () => nowMs })
  return {
    wrong: (source = '') => tries.wrong(source),
    wait: (ms: number) => {
      nowMs += ms
    },
  }
}

test('T17: of a program each wrong try doubles the pause, at most to a minute; who waits is not too early; ten minutes forget', () => {
  const { wrong, wait } = open()
  expect(wrong()).toMatchObject({ isTooEarly: false, retryAfterMs: 200 })
  expect(wrong()).toMatchObject({ isTooEarly: true, retryAfterMs: 400 })
  wait(399)
  expect(wrong()).toMatchObject({ isTooEarly: true, retryAfterMs: 800 })
  wait(800)
  expect(wrong()).toMatchObject({ isTooEarly: false, retryAfterMs: 1600 })
  for (let turn = 0; turn < 50; turn += 1) wrong()
  expect(wrong()).toMatchObject({ isTooEarly: true, retryAfterMs: 60_000 })
  wait(600_001)
  expect(wrong()).toMatchObject({ isTooEarly: false, retryAfterMs: 200 })
})

test('T17: a person has five tries and all sources twenty; one source waits and another does not, until all together guess', () => {
  const { wrong } = open(CARD_TRIES)
  for (let turn = 0; turn < 5; turn += 1) expect(wrong('one')).toMatchObject({ retryAfterMs: 0, isGuessing: false })
  expect(wrong('one').retryAfterMs).toBe(1000)
  expect(wrong('two').retryAfterMs).toBe(0)
  for (let turn = 7; turn < 20; turn += 1) wrong(`many ${turn}`)
  expect(wrong('new')).toMatchObject({ retryAfterMs: 1000, isGuessing: true })
})

test('T17: ten thousand in a minute are a handful of records, and none is uncounted', () => {
  const { wrong, wait } = open()
  const recorded: number[] = []
  for (let turn = 0; turn < 10_000; turn += 1) {
    const { record } = wrong(`${turn}`)
    if (record !== undefined) recorded.push(record)
    wait(6)
  }
  expect(recorded).toHaveLength(6)
  wait(10_000)
  expect(recorded.reduce((sum, one) => sum + one, 0) + (wrong().record ?? 0)).toBe(10_001)
})
