import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { HubError } from '../../../../hub/base/errors.ts'
import { createTaskRun, STOP_GRACE_MS } from '../../../../hub/client/agent/task-run.ts'
import type { ResultBody } from '../../../../hub/protocol/envelope.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const HOUR_MS = 3_600_000
/** A task told to finish within `graceMs`, whose handler takes `takesMs` from there; what it posts. */
async function finished(graceMs: number, takesMs: number): Promise<ResultBody | undefined> {
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
  run.stop(new HubError('mode_draining'), graceMs)
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
