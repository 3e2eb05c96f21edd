import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { HubError } from '../../../../hub/base/errors.ts'
import { createTaskRun } from '../../../../hub/client/agent/task-run.ts'
import type { ResultBody } from '../../../../hub/protocol/envelope.ts'
import { STOP_GRACE_MS } from '../../../../hub/protocol/stop-grace.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const HOUR_MS = 3_600_000
/** A task told to finish within `graceMs`, whose handler takes `takesMs` from there; what it posts. */
async function finished(
  graceMs: number,
  takesMs: number,
  why = new HubError('mode_draining'),
): Promise<ResultBody | undefined> {
  const posted: ResultBody[] = []
  const free = { params: {}, inputs: null, capabilities: [], parent: null, depthLeft: 0, tasksLeft: 0 }
  const task = { task: 't', attempt: 1, ...free }
  const run = createTaskRun({
    task,
    ttlMs: 24 * HOUR_MS,
    async post(body) {
      posted.push(body)
    },
  })
  const done = run.run(() => new Promise((resolve) => setTimeout(() => resolve('whole'), takesMs)))
  run.stop(why, graceMs)
  await vi.advanceTimersByTimeAsync(graceMs)
  await done
  return posted[0]
}

test.each([
  ['of 5 s the first four', 5_000, 3_900, 4_100],
  [
    'of ten hours all but a few seconds',
    10 * HOUR_MS,
    10 * HOUR_MS - STOP_GRACE_MS - 1,
    10 * HOUR_MS - STOP_GRACE_MS + 1,
  ],
])('told to finish, a handler has %s; what comes later is not waited for (S0-15)', async (_, graceMs, inTime, late) => {
  expect(await finished(graceMs, inTime)).toMatchObject({ outcome: 'succeeded', value: 'whole' })
  expect(await finished(graceMs, late)).toMatchObject({ outcome: 'failed' })
})

test('S4-41: what a program of the SDK returns after the hub has ended its session is its result; of any other it is not', async () => {
  const ended = (returns: boolean) => new HubError('token_revoked', 'it was ended', { facts: { returns } })
  expect(await finished(10_000, 5000, ended(true))).toEqual({ outcome: 'succeeded', value: 'whole' })
  expect(await finished(10_000, 5000, ended(false))).toMatchObject({ outcome: 'failed', stopped: true, value: 'whole' })
})

/** Working time of 60 s, and 30 s that questions may wait; steps are spans and what happens after them. When the handler was aborted, in s. */
async function abortedAfter(
  steps: readonly (readonly [number, 'ask' | 'answer' | 'look'])[],
): Promise<number | undefined> {
  const free = { params: {}, inputs: null, capabilities: [], parent: null, depthLeft: 0, tasksLeft: 0 }
  const task = { task: 't', attempt: 1, ...free }
  const beganAt = performance.now()
  let abortedAt: number | undefined
  const run = createTaskRun({ task, ttlMs: 60_000, waitMs: 30_000, post: async () => {} })
  run.signal.addEventListener('abort', () => {
    abortedAt = Math.round((performance.now() - beganAt) / 1000)
  })
  void run.run(() => new Promise(() => {}))
  const open: (() => void)[] = []
  for (const [seconds, what] of steps) {
    await vi.advanceTimersByTimeAsync(seconds * 1000)
    if (what === 'ask') open.push(run.waiting())
    else if (what === 'answer') open.shift()?.()
  }
  return abortedAt
}

test.each([
  ['without a question', [[100, 'look']], 55],
  [
    'with one of 20 s',
    [
      [10, 'ask'],
      [20, 'answer'],
      [100, 'look'],
    ],
    75,
  ],
  [
    'with two at once of 20 s together',
    [
      [10, 'ask'],
      [5, 'ask'],
      [5, 'answer'],
      [10, 'answer'],
      [100, 'look'],
    ],
    75,
  ],
  [
    'with one that nobody answers',
    [
      [10, 'ask'],
      [200, 'look'],
    ],
    85,
  ],
  [
    'with two that would take longer in all',
    [
      [10, 'ask'],
      [25, 'answer'],
      [5, 'ask'],
      [25, 'answer'],
      [100, 'look'],
    ],
    85,
  ],
  [
    'with one answered just before the end',
    [
      [54, 'ask'],
      [10, 'answer'],
      [100, 'look'],
    ],
    65,
  ],
] as const)('the shim keeps the working time %s as the hub does (fault C1)', async (_, steps, at) => {
  expect(await abortedAfter(steps)).toBe(at)
})

test('told to stop while it waits, it has the whole grace, however long it has waited (fault C1)', async () => {
  const posted: ResultBody[] = []
  const free = { params: {}, inputs: null, capabilities: [], parent: null, depthLeft: 0, tasksLeft: 0 }
  const run = createTaskRun({
    task: { task: 't', attempt: 1, ...free },
    ttlMs: 10_000,
    waitMs: HOUR_MS,
    post: async (body) => void posted.push(body),
  })
  const done = run.run(() => new Promise((resolve) => setTimeout(() => resolve('whole'), 30 * 60_000 + 2_000)))
  run.waiting()
  await vi.advanceTimersByTimeAsync(30 * 60_000)
  run.stop(new HubError('mode_draining'), 5_000)
  await vi.advanceTimersByTimeAsync(5_000)
  await done
  expect(posted[0]).toMatchObject({ outcome: 'succeeded', value: 'whole' })
})

test('a handler that ignores its signal: what it marked as partial is posted before the deadline', async () => {
  const posted: [ResultBody, atMs: number][] = []
  const free = { params: {}, inputs: null, capabilities: [], parent: null, depthLeft: 0, tasksLeft: 0 }
  const beganAt = performance.now()
  const run = createTaskRun({
    task: { task: 't', attempt: 1, ...free },
    ttlMs: 700,
    post: async (body) => void posted.push([body, performance.now() - beganAt]),
  })
  run.partial('half')
  void run.run(() => new Promise(() => {}))
  await vi.advanceTimersByTimeAsync(60_000)
  expect(posted).toEqual([[{ outcome: 'failed', value: 'half', error: expect.any(String) }, expect.any(Number)]])
  expect(posted[0]?.[1]).toBeLessThan(700)
})
